"""The parse step: from bytes to Markdown and chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from aperag_common import errors
from aperag_common.db.session import autocommit
from aperag_common.events.commands import ParseDocument
from aperag_common.objects import ObjectMissing, ObjectStore, layout
from aperag_common.work.claims import Claims, StepClaim
from aperag_common.work.finisher import Finished, Finisher
from aperag_indexer.parsing import repository
from aperag_indexer.parsing.ports import Parser
from aperag_retrieval.chunking import CHUNKER_VERSION, ChunkDraft, ChunkPolicy, ParsedDocument

log = structlog.get_logger(__name__)


class ParseStep:
    """``parser`` and ``chunk`` do their work in processes: a large document must not hold up this one's beats."""

    def __init__(
        self,
        claims: Claims,
        objects: ObjectStore,
        parser: Parser,
        policy: ChunkPolicy,
        chunk: Callable[[ParsedDocument, ChunkPolicy], Awaitable[list[ChunkDraft]]],
    ) -> None:
        self.claims = claims
        self.objects = objects
        self.parser = parser
        self.policy = policy
        self.chunk = chunk
        self.finisher = Finisher(claims, self._write)

    async def handle(self, command: ParseDocument) -> None:
        async with self.claims.claim(command) as step:
            artifact = self._artifact(step)
            if await self._is_current(step, artifact):
                await self.finisher.finish(step, (), served_generation=step.served_generation, data=step.data)
                return
            parsed = await self.parser.parse(await self._source(step), name=step.subject.name)
            drafts = await self.chunk(parsed, self.policy)
            if not drafts:
                message = "The document holds no text to index."
                raise errors.EmptyDocument(message)
            path = layout.parsed(layout.prefix_of(step.subject.object_path), step.subject.sha256, self.parser.version)
            await self.objects.put(path, _bytes(parsed.markdown))
            await self.finisher.finish(
                step, drafts, rows=len(drafts), data={**artifact, "chunks": len(drafts), "markdown": path}
            )
            await self._drop_replaced(step.data.get("markdown"), path)

    async def _write(self, conn: AsyncConnection, finished: Sequence[Finished[Sequence[ChunkDraft]]]) -> None:
        """No drafts: the chunks that are there go on being served."""
        parsed = [f for f in finished if f.result]
        await repository.add_chunks(conn, [(f.row, draft) for f in parsed for draft in f.result])
        await repository.remove_unused_chunks(conn, {f.row.document_id: f.row.generation for f in parsed})

    async def _drop_replaced(self, before: str | None, now: str) -> None:
        """What stays because of a failure here goes with the document."""
        if before is None or before == now:
            return
        try:
            await self.objects.delete(before)
        except OSError as err:
            log.warning("artifact.undeleted", error=repr(err))

    def _artifact(self, step: StepClaim) -> dict[str, Any]:
        """What the chunks were made from and by what: the same again would make the same chunks."""
        chunker = f"{CHUNKER_VERSION}:{self.policy.size}/{self.policy.overlap}"
        return {"sha256": step.subject.sha256, "parser": self.parser.version, "chunker": chunker}

    async def _is_current(self, step: StepClaim, artifact: dict[str, Any]) -> bool:
        if step.served_generation is None or any(step.data.get(key) != value for key, value in artifact.items()):
            return False
        async with autocommit(self.claims.engine) as conn:
            return await repository.has_chunks(conn, step.row.document_id, step.served_generation)

    async def _source(self, step: StepClaim) -> Path:
        path = self.objects.local_path(step.subject.object_path)
        if path is None or not await self.objects.exists(step.subject.object_path):
            message = "The document's bytes are missing from the object store."
            raise ObjectMissing(message)
        return path


async def _bytes(markdown: str) -> AsyncIterator[bytes]:
    yield markdown.encode("utf-8", errors="replace")
