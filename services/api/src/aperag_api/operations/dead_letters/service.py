"""Reading, requeueing and purging dead letters."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_api.kernel.paging import Page, Paged
from aperag_api.kernel.reading import reading
from aperag_api.operations.dead_letters import repository
from aperag_api.operations.dead_letters.decide import Cursor, Selection, chosen
from aperag_api.operations.dead_letters.schemas import (
    MOST_IDS,
    DeadLetterDetails,
    DeadLetterOut,
    PurgeAnswer,
    RedriveAnswer,
    RedriveResult,
)
from aperag_common import errors
from aperag_common.db.models import Lane
from aperag_common.telemetry import propagate
from aperag_work import requeue
from aperag_work.opening import Admission
from aperag_work.requeue_rules import WHY, RequeueAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.operations.dead_letters.schemas import PurgeRequest, RedriveRequest
    from aperag_common.settings import WorkSettings
    from aperag_work.dispatcher import Dispatcher

MOST = MOST_IDS
"""Letters that one request requeues: a client asks again for the rest, instead of waiting for many minutes."""
BATCH = 100
"""Letters requeued in one transaction: enough to be quick, few enough not to hold locks for long."""
PURGED_AT_ONCE = 1000
SHOWN = 100


@dataclass(frozen=True, slots=True)
class DeadLetterService:
    """``interactive``: more letters than this are bulk work."""

    engine: AsyncEngine
    dispatcher: Dispatcher
    work: WorkSettings
    interactive: int

    async def list(self, selection: Selection, *, page: Page) -> Paged[DeadLetterOut]:
        async with reading(self.engine) as conn:
            rows, total = await repository.list_page(conn, selection, page=page)
            verdicts = await requeue.preview(conn, [row["id"] for row in rows])
        items = [DeadLetterOut(**row, **_would(verdicts[row["id"]])) for row in rows]
        return Paged[DeadLetterOut].of(items, total=total, page=page)

    async def get(self, letter_id: str) -> DeadLetterDetails:
        id_ = _uuid(letter_id)
        async with reading(self.engine) as conn:
            row = await repository.get(conn, id_)
            verdict = (await requeue.preview(conn, [id_]))[id_]
        if row is None:
            raise _not_found(letter_id)
        plain = dict(row)
        trace_id = propagate.trace_id_of(plain.pop("traceparent"))
        return DeadLetterDetails(**plain, trace_id=trace_id, **_would(verdict))

    async def redrive(self, body: RedriveRequest) -> RedriveAnswer:
        """In transactions of some letters each: what a crash leaves is requeued by asking again."""
        selection = chosen(body)
        ids, following = await self._meant(selection, Cursor.parse(body.after) if body.after else None)
        answers: dict[uuid.UUID, requeue.Answer] = {}
        lane = Lane.INTERACTIVE if len(ids) <= self.interactive else Lane.BULK
        for at in range(0, len(ids), BATCH):
            batch = ids[at : at + BATCH]
            answers |= await (self._preview(batch) if body.dry_run else self._requeue(batch, lane))
        return _answer(answers, dry_run=body.dry_run, following=following)

    async def delete(self, letter_id: str) -> PurgeAnswer:
        purged = await self._purge(Selection(ids=(_uuid(letter_id),)))
        if not purged:
            raise _not_found(letter_id)
        return PurgeAnswer(purged=purged)

    async def purge(self, body: PurgeRequest) -> PurgeAnswer:
        return PurgeAnswer(purged=await self._purge(chosen(body)))

    async def _meant(self, selection: Selection, after: Cursor | None) -> tuple[Sequence[uuid.UUID], Cursor | None]:
        """The letters of this request, and where the next one begins."""
        if selection.ids is not None:
            return selection.ids, None
        async with reading(self.engine) as conn:
            asked = after.asked if after else await repository.now(conn)
            found = await repository.open_after(conn, selection, asked, after, limit=MOST)
        following = Cursor(asked, *found[-1]) if len(found) == MOST else None
        return [id_ for _, id_ in found], following

    async def _preview(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, requeue.Answer]:
        async with reading(self.engine) as conn:
            verdicts = await requeue.preview(conn, ids)
        return {id_: requeue.Answer(verdict) for id_, verdict in verdicts.items()}

    async def _requeue(self, ids: Sequence[uuid.UUID], lane: Lane) -> dict[uuid.UUID, requeue.Answer]:
        admission = Admission(lane, self.work.in_flight_per_owner, self.work.first_due)
        async with self.engine.begin() as conn:
            requeued = await requeue.requeue(conn, ids, admission)
        self.dispatcher.deliver(*requeued.changes)
        return requeued.answers

    async def _purge(self, selection: Selection) -> int:
        total = 0
        async with reading(self.engine) as conn:
            asked = await repository.now(conn)
        while True:
            async with self.engine.begin() as conn:
                purged = await repository.remove(conn, selection, asked, limit=PURGED_AT_ONCE)
            total += purged
            if purged < PURGED_AT_ONCE:
                return total


def _would(verdict: RequeueAnswer) -> Mapping[str, Any]:
    return {"outcome": verdict.value, "redrivable": verdict is RequeueAnswer.REDRIVEN, "reason": WHY[verdict]}


def _answer(answers: Mapping[uuid.UUID, requeue.Answer], *, dry_run: bool, following: Cursor | None) -> RedriveAnswer:
    tasks = list(dict.fromkeys(it.workflow_id for it in answers.values() if it.workflow_id))
    results = [
        RedriveResult(id=id_, outcome=it.verdict.value, reason=WHY[it.verdict], task_id=it.workflow_id)
        for id_, it in list(answers.items())[:SHOWN]
    ]
    return RedriveAnswer(
        dry_run=dry_run,
        letters=len(answers),
        outcomes=dict(Counter(it.verdict.value for it in answers.values())),
        tasks=len(tasks),
        task_ids=tasks[:SHOWN],
        results=results,
        next=str(following) if following else None,
    )


def _uuid(letter_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(letter_id)
    except ValueError as err:
        raise _not_found(letter_id) from err


def _not_found(letter_id: str) -> errors.NotFound:
    return errors.NotFound(f"Dead letter {letter_id} not found")
