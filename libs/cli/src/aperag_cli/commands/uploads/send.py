"""Sending documents: several requests at once, each tried again while the gateway is away."""

from __future__ import annotations

import asyncio
import io
import mimetypes
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from aperag_cli.client.errors import ApiError, Refused
from aperag_cli.commands.uploads.plan import batches
from aperag_cli.commands.uploads.walk import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from aperag_cli.client.api import Api
    from aperag_cli.client.patience import Patience
    from aperag_cli.commands.uploads.view import View
    from aperag_cli.commands.uploads.walk import Source

Batch = list["Source"]


@dataclass(slots=True)
class Sender:
    """Fills ``accepted`` and ``refused`` while it runs, so that they tell the truth also when it is interrupted."""

    api: Api
    collection_id: str
    patience: Patience
    view: View
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    async def send(self, sources: Sequence[Source], *, concurrency: int) -> None:
        """Raises the first failure that concerns them all; what is in flight then is given up."""
        waiting = deque(batches(sources))

        async def work() -> None:
            while waiting:
                await self._send(waiting.popleft())

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())
        except ExceptionGroup as failed:
            errors = [err for err in failed.exceptions if isinstance(err, ApiError)]
            raise (errors or failed.exceptions)[0] from None

    async def _send(self, batch: Batch) -> None:
        """A request is accepted or refused as a whole: the documents of a refused one are sent one by one."""
        try:
            items = await self._try(batch)
        except (Refused, OSError) as err:
            if len(batch) > 1:
                for source in batch:
                    await self._send([source])
                return
            reason = err.message if isinstance(err, Refused) else err.strerror or str(err)
            self.refused.append(Refusal(batch[0].path, reason))
        else:
            self.accepted.update((source.name, item) for source, item in zip(batch, items, strict=True))
        self.view.passed(batch)

    async def _try(self, batch: Batch) -> list[dict[str, Any]]:
        def told(err: ApiError) -> None:
            self.view.note(f"{err.message}; trying again for up to {self.patience.seconds:.0f} s")

        return await self.patience.get(lambda: self._attempt(batch), told=told)

    async def _attempt(self, batch: Batch) -> list[dict[str, Any]]:
        sent = 0

        def count(size: int) -> None:
            nonlocal sent
            sent += size
            self.view.sent(size)

        try:
            with ExitStack() as opened:
                contents = [cast(BinaryIO, opened.enter_context(_Counted(source.path, count))) for source in batch]
                return await self.api.upload(self.collection_id, list(map(_part, batch, contents)))
        except BaseException:  # Ctrl-C too, after which the next try begins anew
            self.view.sent(-sent)  # what was sent in vain is no progress
            raise


def _part(source: Source, content: BinaryIO) -> tuple[str, BinaryIO, str]:
    return source.name, content, mimetypes.guess_type(source.name)[0] or "application/octet-stream"


class _Counted(io.FileIO):
    """Tells how many bytes are read, which is how many are sent."""

    def __init__(self, path: Path, told: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._told = told

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(-1 if size is None else size)
        self._told(len(block or b""))
        return block or b""
