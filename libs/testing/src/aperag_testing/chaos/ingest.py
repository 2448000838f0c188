"""An ingest over HTTP by a plan: uploads are held back so that they go on while processes die and people ask for more."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_testing.chaos.observation import Accepted
from aperag_testing.chaos.plan import Deed, Fault, Plan, Request
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.client import Client
    from aperag_testing.stack import Stack

SENDERS = 6
IN_FLIGHT = 100
"""Uploads are held back beyond this, so that documents come in during the whole of the ingest."""
CUT_BACK = 0.25
"""The share of the documents that may be on their way at most, where this is less."""
REBUILT = ["VECTOR", "FULLTEXT"]

Pieces = Callable[[str], frozenset[tuple[int, str]]]

_ENDED = text("SELECT count(*) FROM workflow WHERE collection_id = :id AND kind = 'upload' AND status <> 'RUNNING'")


@dataclass(frozen=True, slots=True)
class Struck:
    """``at`` is ``time.time``, for the database has the same clock; ``ended`` counts documents that had ended."""

    fault: Fault
    at: float
    ended: int


@dataclass(slots=True)
class Ingest:
    """It ends when every document's upload has ended, every request is answered and every fault has struck.

    ``pieces`` cuts a text into the chunks that it must end as. ``patience`` is for one request, ``within`` for all.
    """

    stack: Stack
    client: Client
    rows: AsyncEngine
    collection: str
    plan: Plan
    pieces: Pieces
    patience: float
    within: float
    accepted: dict[str, Accepted] = field(default_factory=dict)
    struck: list[Struck] = field(default_factory=list)
    ended: int = 0
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self) -> bool:
        """False where it did not come to its end ``within`` the time: what is there can be judged all the same."""
        documents = len(self.plan.texts)
        free = asyncio.Semaphore(min(IN_FLIGHT, max(SENDERS, int(CUT_BACK * documents))))
        waiting = iter(self.plan.texts.items())
        try:
            async with asyncio.timeout(self.within), asyncio.TaskGroup() as group:
                for _ in range(SENDERS):
                    group.create_task(self._send(waiting, free, group))
                await self._watch(free)
        except TimeoutError:
            return False
        return True

    async def _send(
        self, waiting: Iterator[tuple[str, str]], free: asyncio.Semaphore, group: asyncio.TaskGroup
    ) -> None:
        for name, body in waiting:
            await free.acquire()
            parts = [("files", (name, body.encode(), "text/plain"))]
            answer = await self._ask("POST", f"/collections/{self.collection}/documents", files=parts)
            accepted = Accepted(answer["items"][0]["id"], name, body, self.pieces(body))
            self.accepted[name] = accepted
            if requests := self.plan.requests.get(name):
                group.create_task(self._meddle(accepted, requests))

    async def _watch(self, free: asyncio.Semaphore) -> None:
        faults = list(self.plan.faults)

        async def look() -> bool:
            ended = max(self.ended, await self._count_ended())
            for _ in range(ended - self.ended):
                free.release()
            async with self._moved:
                self.ended = ended
                self._moved.notify_all()
            if faults and ended >= faults[0].after and self._stands(faults[0].unit):
                await asyncio.to_thread(self._strike, faults.pop(0))
            return ended == len(self.plan.texts) and not faults

        await until(look, within=math.inf)

    def _strike(self, fault: Fault) -> None:
        if fault.wipe:
            self.stack.wipe_jetstream()
        else:
            self.stack.kill(fault.unit)
        self.struck.append(Struck(fault, time.time(), self.ended))

    async def _count_ended(self) -> int:
        try:
            async with self.rows.connect() as conn:
                return int((await conn.execute(_ENDED, {"id": self.collection})).scalar_one())
        except (SQLAlchemyError, OSError):  # PostgreSQL is one of those that are killed
            return 0

    def _stands(self, unit: str) -> bool:
        return bool(self.stack.unit(unit)["status"] == "ready")

    async def _meddle(self, document: Accepted, requests: Sequence[Request]) -> None:
        for request in requests:
            await self._until_ended(min(self.ended + request.later, len(self.plan.texts)))
            document.asked.add(request.deed)
            await self._do(request.deed, document)

    async def _until_ended(self, documents: int) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self.ended >= documents)

    async def _do(self, deed: Deed, document: Accepted) -> None:
        path = f"/collections/{self.collection}/documents/{document.id}"
        match deed:
            case Deed.REBUILD:
                await self._ask("POST", f"{path}/rebuild_indexes", json={"index_types": REBUILT})
            case Deed.CANCEL:
                answer = await self._ask("POST", f"{path}/cancel", also=HTTPStatus.CONFLICT)
                document.cancelled |= set(answer.get("task_ids", ()))
            case Deed.DELETE:
                await self._ask("DELETE", path, also=HTTPStatus.NOT_FOUND)
                document.deleted = True

    async def _ask(self, method: str, path: str, *, also: HTTPStatus | None = None, **request: Any) -> dict[str, Any]:
        """``also`` is what a repetition is told whose first answer got lost, or who comes too late."""
        answer = await self.client.patiently(method, path, within=self.patience, **request)
        if not answer.is_success and answer.status_code != also:
            message = f"refused: {method} {path}: {answer.status_code} {answer.text}"
            raise AssertionError(message)
        return dict(answer.json())
