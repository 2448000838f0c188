"""An agent that a test plays: it claims turns, tells what happens in them and ends them as the agent service does."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_agent.live.publisher import TurnPublisher
from aperag_agent.live.sender import Sender
from aperag_common.bus.delivery import Ack, Settled
from aperag_common.events.commands import RunTurn, TurnData
from aperag_common.jobs.declared import TURN
from aperag_common.live.events import TurnEventKind
from aperag_common.tasks import end_tasks
from aperag_testing.steps import attempt
from aperag_work.completion import Completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.delivery import Settlement
    from aperag_work.completion import Completed
    from aperag_work.database import Connection
    from aperag_work.engine import Engine
    from aperag_work.job import Job

REFERENCE = {"text": "Steep for three minutes.", "score": 0.8, "metadata": {"document_id": "doc1"}}
BROKEN = {"code": "MODEL_FAILED", "message": "The model does not answer."}


@dataclass(slots=True)
class HeldTurn:
    """A turn as its agent holds it."""

    job: Job
    credential: str
    told: TurnPublisher
    ended: asyncio.Future[Completion]
    attempt: asyncio.Task[Settlement]

    async def say(self, text: str) -> None:
        await self.told.put({"type": TurnEventKind.MESSAGE, "data": {"text": text}})

    async def end(self, kind: TurnEventKind = TurnEventKind.STOP, outcome: str = "answered") -> None:
        """The row first, then the readers, as the agent does. Raises ``Settled`` where the turn is no longer its own."""
        parts = await self.told.settled()
        if kind is TurnEventKind.ERROR:
            parts = [*parts, {"part_id": "e", "type": "error", "data": BROKEN, "timestamp": 1.0}]
        answer = "".join(part["data"]["text"] for part in parts if part["type"] == "message")
        self.ended.set_result(Completion((answer, json.dumps(parts), outcome), outcome=outcome))
        if (settlement := await self.attempt) != Ack(outcome=outcome):
            raise Settled(settlement)
        data = BROKEN if kind is TurnEventKind.ERROR else {"outcome": outcome, "usage": {"requests": 1}}
        await self.told.put({"type": kind, "data": data})


@dataclass(slots=True)
class FakeAgent:
    """Claims and runs turns as the agent service does, when a test says so; ``worker`` does nothing else."""

    engine: AsyncEngine
    worker: Engine
    bus: Bus
    _claimed: dict[str, asyncio.Future[Job]] = field(default_factory=dict)
    _ended: dict[str, asyncio.Future[Completion]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.worker.handle(TURN, self._run, write=_write)

    async def _run(self, job: Job) -> Completion:
        self._claimed[job.row.subject_id].set_result(job)
        return await self._ended[job.row.subject_id]

    @asynccontextmanager
    async def holding(self, turn_id: str) -> AsyncIterator[HeldTurn]:
        """A turn that the block does not end is given back, as by an agent that is stopped. Raises ``Settled`` where the
        turn cannot be claimed.
        """
        async with self.engine.begin() as conn:
            query = """
                UPDATE turn t SET run = run + 1 FROM job j WHERE t.id = :id AND j.subject_id = t.id
                RETURNING t.owner, t.run, t.credential, j.id AS job_id, j.generation
            """
            row = (await conn.execute(text(query), {"id": turn_id})).one()
        loop = asyncio.get_running_loop()
        claimed = self._claimed[turn_id] = loop.create_future()
        ended = self._ended[turn_id] = loop.create_future()
        data = TurnData(row_id=row.job_id, generation=row.generation, turn_id=turn_id)
        command = RunTurn(source="tests", type=RunTurn.type_name, subject=turn_id, owner=row.owner, data=data)
        working = asyncio.create_task(attempt(self.worker, command))
        await asyncio.wait({working, claimed}, return_when=asyncio.FIRST_COMPLETED)
        if not claimed.done():
            raise Settled(working.result())
        try:
            async with TurnPublisher(Sender(self.bus.nc), turn_id, row.run, beat=0.2) as told:
                yield HeldTurn(claimed.result(), f"turn.{turn_id}.{row.credential}", told, ended, working)
        finally:
            await end_tasks(working)

    async def answer(self, turn_id: str, *words: str) -> None:
        async with self.holding(turn_id) as held:
            for word in words:
                await held.say(word)
            await held.told.put({"type": "references", "data": {"items": [REFERENCE]}})
            await held.end()


async def _write(conn: Connection, completed: Sequence[Completed]) -> None:
    for it in completed:
        result: Any = it.result
        await conn.execute(
            """
            UPDATE turn SET answer = $2, parts = $3::text::jsonb, outcome = $4, usage = '{"requests": 1}' WHERE id = $1
            """,
            it.row.subject_id,
            *result,
        )
