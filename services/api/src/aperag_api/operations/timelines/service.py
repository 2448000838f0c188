"""Reading timelines: what the database knows of each stage, and what NATS says of the queues before it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from aperag_api.kernel.auth import Role
from aperag_api.kernel.reading import reading
from aperag_api.operations.timelines import repository
from aperag_api.operations.timelines.view import stage_of, timeline
from aperag_common import errors, subjects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_api.operations.timelines.facts import StepFacts, Turn
    from aperag_api.operations.timelines.repository import DocumentRow
    from aperag_api.operations.timelines.schemas import TimelineOut
    from aperag_common.bus.connection import Bus
    from aperag_work.policy import WorkPolicy

log = structlog.get_logger(__name__)

NATS_SECONDS = 1.0
"""A timeline without the length of a queue is better than none."""


@dataclass(frozen=True, slots=True)
class TimelineService:
    """``traces`` says where traces are read; ``in_flight`` is an owner's share of documents at a time."""

    engine: AsyncEngine
    bus: Bus
    policy: WorkPolicy
    in_flight: int
    traces: str

    async def get(self, caller: Caller, collection_id: str, document_id: str) -> TimelineOut:
        """A deleted document's too, as long as its row is there; an administrator reads everybody's."""
        admin = caller.role is Role.ADMIN
        async with reading(self.engine) as conn:
            found = await repository.document(conn, collection_id, document_id, caller.user_id, any_owner=admin)
            if found is None:
                raise errors.DocumentNotFound(f"Document {document_id} not found")
            steps = [(id_, self._with_policy(facts)) for id_, facts in await repository.steps(conn, found)]
            turns = {id_: await self._turn(conn, found, id_) for id_, facts in steps if facts.waits_for_release}
            processes = await repository.processes(conn) if any(facts.open for _, facts in steps) else []
            tasks = await repository.tasks(conn, document_id)
            letters = await repository.dead_letters(conn, document_id) if admin else None
        pending = await self._pending({facts.work.consumer for _, facts in steps if facts.published})
        stages = [stage_of(facts, turns.get(id_), pending, processes) for id_, facts in steps]
        return timeline(found, stages, tasks, letters, self.traces)

    def _with_policy(self, facts: StepFacts) -> StepFacts:
        policy = self.policy.of_work(facts.work.retry)
        return replace(facts, max_failures=policy.max_failures, max_attempts=policy.max_attempts)

    async def _turn(self, conn: AsyncConnection, found: DocumentRow, job_id: str) -> Turn | None:
        return await repository.turn(conn, found.owner, job_id, limit=self.in_flight)

    async def _pending(self, consumers: Iterable[str]) -> dict[str, int | None]:
        """Undelivered commands by consumer; None where NATS does not tell."""
        names = sorted(consumers)
        return dict(zip(names, await asyncio.gather(*map(self._pending_of, names)), strict=True))

    async def _pending_of(self, consumer: str) -> int | None:
        if not self.bus.connected:
            return None
        try:
            async with asyncio.timeout(NATS_SECONDS):
                return (await self.bus.js.consumer_info(subjects.COMMANDS, consumer)).num_pending or 0
        except (NatsError, JetStreamError, TimeoutError) as err:
            log.warning("consumer.untold", consumer=consumer, error=repr(err))
            return None
