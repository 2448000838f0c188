"""Documents whose steps move when a test says so, the way the gateway and the indexer move them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.bus.delivery import Ack, Settled
from aperag_common.testing.factories import KINDS, PACE, make_upload
from aperag_common.testing.waiting import until
from aperag_common.work import cancel, changes
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, step_dispatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.bus.delivery import Settlement
    from aperag_common.db.models.document_step import StepKind
    from aperag_common.work.change import Change
    from aperag_common.work.claims import Claims
    from aperag_common.work.dispatch import Dispatch

DUE = timedelta(seconds=60)

_BLOCKED = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


async def until_blocked(engine: AsyncEngine, *, sessions: int = 1) -> None:
    """Wait until so many sessions of this database wait for a lock: the order is then fixed, however slow they are."""

    async def blocked() -> bool:
        async with engine.connect() as conn:
            return int((await conn.execute(_BLOCKED)).scalar_one()) >= sessions

    await until(blocked, every=0.02)


@dataclass(slots=True)
class Gate:
    """Where work waits until the test opens it."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, *_: object) -> None:
        self.reached.set()
        await self.opened.wait()

    async def until_reached(self) -> None:
        async with asyncio.timeout(30):
            await self.reached.wait()

    def open(self) -> None:
        self.opened.set()


async def nothing(*_: object) -> None:
    """Work that takes no time."""


@dataclass(frozen=True, slots=True)
class Steps:
    """``claims`` is the worker that is meant where a test names none."""

    engine: AsyncEngine
    claims: Claims

    async def upload(self, **options: Any) -> Change:
        async with self.engine.begin() as conn:
            return await make_upload(conn, **options)

    async def rebuild_in(self, conn: AsyncConnection, document_id: str, kinds: Sequence[StepKind] = KINDS) -> Change:
        change = await changes.rebuild(conn, document_id, kinds=kinds, pace=PACE)
        assert change is not None  # noqa: S101  # the kinds of tests have workers
        return change

    async def rebuild(self, document_id: str, kinds: Sequence[StepKind] = KINDS) -> Change:
        async with self.engine.begin() as conn:
            return await self.rebuild_in(conn, document_id, kinds)

    async def delete(self, document_id: str) -> Change | None:
        async with self.engine.begin() as conn:
            return await changes.delete(conn, document_id, first_due=DUE)

    async def cancel_in(self, conn: AsyncConnection, workflow_id: str) -> Change | cancel.AlreadySettled:
        query = text("SELECT owner FROM workflow WHERE id = :id")
        owner = (await conn.execute(query, {"id": workflow_id})).scalar_one()
        return await cancel.cancel(conn, workflow_id, owner=owner, first_due=DUE)

    async def cancel(self, workflow_id: str) -> Change | cancel.AlreadySettled:
        async with self.engine.begin() as conn:
            return await self.cancel_in(conn, workflow_id)

    async def dispatch(self, document_id: str, kind: str = "parse") -> Dispatch:
        """The command of the step as it stands now."""
        query = text(f"SELECT {STEP_COLUMNS} FROM document_step WHERE document_id = :d AND kind = :k")
        async with self.engine.connect() as conn:
            row = (await conn.execute(query, {"d": document_id, "k": kind})).one()
        return step_dispatch(StepRow(**row._mapping), source="tests")

    async def command(self, document_id: str, kind: str = "parse") -> Any:
        return (await self.dispatch(document_id, kind)).message

    async def work(
        self,
        message: Any,
        *,
        by: Claims | None = None,
        during: Callable[..., Awaitable[None]] = nothing,
        ending: Callable[..., Awaitable[None]] = nothing,
    ) -> Settlement:
        """What the message is told. ``during`` is the work; ``ending`` runs in the open transaction of its finish."""
        try:
            async with (by or self.claims).claim(message) as step:
                await during(step)
                async with step.finish() as finishing:
                    await ending(finishing)
        except Settled as settled:
            return settled.settlement
        return Ack()

    async def complete(self, document_id: str, *kinds: str) -> None:
        for kind in kinds or ("parse", "vector", "fulltext"):
            settlement = await self.work(await self.command(document_id, kind))
            assert settlement == Ack(), settlement  # noqa: S101  # what follows rests on it

    async def rows(self, sql: str, **parameters: Any) -> list[Any]:
        async with self.engine.connect() as conn:
            return list((await conn.execute(text(sql), parameters)).all())

    async def column(self, sql: str, **parameters: Any) -> list[Any]:
        return [row[0] for row in await self.rows(sql, **parameters)]

    async def statuses(self, document_id: str) -> dict[str, str]:
        found = await self.rows("SELECT kind, status FROM document_step WHERE document_id = :d", d=document_id)
        return {row.kind: row.status for row in found}

    async def document_status(self, document_id: str) -> str:
        [status] = await self.column("SELECT status FROM document WHERE id = :d", d=document_id)
        return str(status)

    async def told(self) -> dict[str, list[str]]:
        """By workflow, the ends of it that events tell: more than one is a broken promise."""
        query = "SELECT payload->'data' AS data FROM outbox WHERE payload->>'type' = 'document.indexed'"
        ends: dict[str, list[str]] = defaultdict(list)
        for row in await self.rows(query):
            ends[row.data["workflow_id"]].append(row.data["outcome"])
        return dict(ends)
