"""Jobs that move when a test says so, the way the gateway and the workers move them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import text

from aperag_common.bus.delivery import Ack, Delivery
from aperag_common.bus.topology import consumer
from aperag_common.events import facts
from aperag_common.jobs.kind import Wanted, kinds
from aperag_testing.factories import ADMISSION, KINDS, make_upload
from aperag_testing.waiting import until
from aperag_work import cancel, changes
from aperag_work.completion import Completion
from aperag_work.rows import Dispatch, JobRow, columns_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.bus.delivery import Settlement
    from aperag_common.events.commands import JobCommand
    from aperag_common.jobs.kind import JobKind
    from aperag_common.jobs.steps import StepKind
    from aperag_work.change import Change
    from aperag_work.completion import Completed
    from aperag_work.database import Connection
    from aperag_work.engine import Engine
    from aperag_work.job import Job
    from aperag_work.policy import WorkPolicy

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


async def attempt(engine: Engine, command: JobCommand, **headers: str) -> Settlement:
    """What the command's message is told: it comes alone, as from its consumer."""
    shown = getattr(command.data, "kind", None)
    works = [(kind, work) for kind in kinds() for work in kind.works if work.command is type(command)]
    [work] = [work for kind, work in works if shown in {None, kind.shown}]
    raw: Any = SimpleNamespace(
        subject=work.subject,
        data=command.encode(),
        headers=headers,
        metadata=SimpleNamespace(num_delivered=1, timestamp=datetime.now(UTC)),
    )
    told: list[Settlement] = []
    await engine.work(consumer(work.consumer), [Delivery(work.consumer, raw, lambda _, it: told.append(it))])
    return told[0]


async def nothing(*_: object) -> None:
    """Work that takes no time."""


_DURING: ContextVar[Callable[[Job], Awaitable[Completion | None]]] = ContextVar("during")
_ENDING: ContextVar[Callable[[Connection], Awaitable[None]]] = ContextVar("ending")


def play(worker: Engine, *only: JobKind) -> Engine:
    """Make it do jobs of all kinds as the test says that asks for the attempt (``Steps.work``)."""

    async def run(job: Job) -> Completion:
        completion = await _DURING.get()(job)
        return replace(completion or Completion(), result=_ENDING.get())

    async def write(conn: Connection, completed: Sequence[Completed]) -> None:
        for it in completed:
            await it.result(conn)

    for kind in only or kinds():
        for wanted, work in zip(Wanted, (kind.present, kind.absent), strict=True):
            if work is not None:
                worker.handle(kind, run, wanted=wanted, write=write)
    return worker


class MakeWorker(Protocol):
    """A process of its own, but for its connections."""

    def __call__(self, name: str = "worker-1", policy: WorkPolicy | None = None) -> Engine: ...


@dataclass(frozen=True, slots=True)
class Steps:
    """``worker`` is the one that is meant where a test names none; workers are of ``play``."""

    engine: AsyncEngine
    worker: Engine

    async def upload(self, **options: Any) -> Change:
        async with self.engine.begin() as conn:
            return await make_upload(conn, **options)

    async def rebuild_in(self, conn: AsyncConnection, document_id: str, kinds: Sequence[StepKind] = KINDS) -> Change:
        change = await changes.rebuild(conn, document_id, kinds=kinds, admission=ADMISSION)
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
        """The command of the step's job as it stands now."""
        job = kind if kind == "parse" else f"index.{kind}"
        query = text(f"SELECT {columns_of('job')} FROM job WHERE subject_id = :d AND kind = :k")
        async with self.engine.connect() as conn:
            row = (await conn.execute(query, {"d": document_id, "k": job})).one()
        return Dispatch(JobRow(*row), "tests")

    async def dispatch_of(self, job_id: str) -> Dispatch:
        """The command of the job as it stands now."""
        query = text(f"SELECT {columns_of('job')} FROM job WHERE id = :id")
        async with self.engine.connect() as conn:
            row = (await conn.execute(query, {"id": job_id})).one()
        return Dispatch(JobRow(*row), "tests")

    async def command(self, document_id: str, kind: str = "parse") -> JobCommand:
        return (await self.dispatch(document_id, kind)).message

    async def work(
        self,
        message: JobCommand,
        *,
        by: Engine | None = None,
        during: Callable[[Job], Awaitable[Completion | None]] = nothing,
        ending: Callable[[Connection], Awaitable[None]] = nothing,
    ) -> Settlement:
        """What the message is told. ``during`` is the work; ``ending`` runs in the transaction that completes it."""
        _DURING.set(during)
        _ENDING.set(ending)
        return await attempt(by or self.worker, message)

    async def complete(self, document_id: str, *kinds: str) -> None:
        for kind in kinds or ("parse", "vector", "fulltext"):
            settlement = await self.work(await self.command(document_id, kind))
            assert settlement == Ack(outcome="done"), settlement  # noqa: S101  # what follows rests on it

    async def rows(self, sql: str, **parameters: Any) -> list[Any]:
        async with self.engine.connect() as conn:
            return list((await conn.execute(text(sql), parameters)).all())

    async def job(self, row_id: str) -> Any | None:
        """All its columns, and in how many seconds it is due."""
        due = "extract(epoch FROM due_at - clock_timestamp())::float AS due_in"
        found = await self.rows(f"SELECT *, {due} FROM job WHERE id = :id", id=row_id)
        return found[0] if found else None

    async def change(self, sql: str, **parameters: Any) -> None:
        """By hand, as nothing in the product does it."""
        async with self.engine.begin() as conn:
            await conn.execute(text(sql), parameters)

    async def column(self, sql: str, **parameters: Any) -> list[Any]:
        return [row[0] for row in await self.rows(sql, **parameters)]

    async def statuses(self, document_id: str) -> dict[str, str]:
        found = await self.rows(
            "SELECT replace(kind, 'index.', '') AS kind, status FROM job WHERE subject_id = :d", d=document_id
        )
        return {row.kind: row.status for row in found}

    async def document_status(self, document_id: str) -> str:
        [status] = await self.column("SELECT status FROM document WHERE id = :d", d=document_id)
        return str(status)

    async def told(self) -> dict[str, list[str]]:
        """By workflow, the ends of it that events tell: more than one is a broken promise."""
        query = "SELECT payload->'data' AS data FROM outbox WHERE payload->>'type' = ANY(:ends)"
        ends: dict[str, list[str]] = defaultdict(list)
        for row in await self.rows(query, ends=[fact.type_name for fact in facts.ENDS]):
            ends[row.data["workflow_id"]].append(row.data["outcome"])
        return dict(ends)
