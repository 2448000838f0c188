"""Carrying an event out: a document is made, replaced or deleted as its owner might, and the event settled with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aperag_api.access.decide import Right
from aperag_api.access.service import collection_for, require_writer
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.collections.service import index_kinds
from aperag_api.knowledge.ingest import decide, outcomes, repository
from aperag_api.knowledge.ingest.content import Placed
from aperag_common import errors
from aperag_common.db.models import IngestOutcome, IngestStatus
from aperag_common.events.fact import IngestData
from aperag_common.events.ingest import DELETE
from aperag_common.jobs.steps import INDEX_STEPS, StepKind
from aperag_common.telemetry import propagate
from aperag_work import changes, outbox
from aperag_work.change import Change
from aperag_work.completion import Completion
from aperag_work.database import driver
from aperag_work.document_rows import lock
from aperag_work.opening import Admission
from aperag_work.scheduler import ScheduleContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.knowledge.ingest.content import Contents
    from aperag_api.knowledge.ingest.repository import EventRow, HeldVersion, Target
    from aperag_api.knowledge.uploads.service import UploadService
    from aperag_common.events.envelope import Message
    from aperag_common.jobs.steps import StepKind as Kind
    from aperag_work.aggregate import FailedAttempt
    from aperag_work.database import Connection
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.job import Job
    from aperag_work.rows import JobRow
    from aperag_work.scheduler import TaskScheduler


SOON = timedelta(milliseconds=200)


class _Changed(Exception):  # control flow
    """The document was changed by somebody else since its new content was put in its place."""


@dataclass(frozen=True, slots=True)
class _Done:
    outcome: IngestOutcome
    document_id: str | None = None
    change: Change | None = None

    @property
    def workflow_id(self) -> str | None:
        return self.change.workflow_id if self.change is not None else None


@dataclass(frozen=True, slots=True)
class Apply:
    """``admission`` is how a document that is replaced enters the queue; a new one goes the way of an upload."""

    engine: AsyncEngine
    dispatcher: Dispatcher
    scheduler: TaskScheduler
    uploads: UploadService
    contents: Contents
    admission: Admission

    async def run(self, job: Job) -> Completion:
        async with reading(self.engine) as conn:
            event = await repository.get(conn, job.row.subject_id)
            if event is None:
                raise errors.Gone("The event is no longer known")
            if event.status == IngestStatus.COMPLETED:
                return Completion(outcome=event.outcome or "done")
            # Looked up again when it is done; here so that nothing is fetched for who may not.
            await require_writer(conn, event.owner)
            collection = await collection_for(conn, event.owner, event.collection_id, Right.CHANGE)
            target = await repository.target(conn, event)
        try:
            if event.type == DELETE:
                done = await self._delete(event)
            else:
                done = await self._upsert(event, target, index_kinds(collection.config))
        except _Changed:
            raise await job.put_off(SOON) from None
        return Completion(outcome=done.outcome.value)

    async def lock(self, conn: Connection, jobs: Sequence[JobRow]) -> None:
        """Before the jobs, as whoever removes the events."""
        await repository.lock(conn, [job.subject_id for job in jobs])

    async def failed(self, conn: Connection, failing: FailedAttempt) -> Sequence[Message]:
        """In the transaction that gives the job up."""
        why, id_ = failing.failure, failing.row.subject_id
        row = await repository.fail(conn, id_, why.error_code, why.message)
        if row is None:
            return []
        data = IngestData(
            source=row["source"], id=row["event_id"], subject=row["subject"], collection_id=row["collection_id"]
        )
        return [outcomes.failed(row["owner"], id_, data, why)]

    async def _delete(self, event: EventRow) -> _Done:
        async with self.engine.begin() as conn:
            if not await repository.hold(conn, event.id):
                return _Done(IngestOutcome.SUPERSEDED)
            await changes.share_collection(conn, event.collection_id, event.owner)
            version = await repository.hold_version(conn, event)
            if _is_late(event, version):
                done = _Done(IngestOutcome.SUPERSEDED, version.document_id)
            else:
                done = await self._deleted(conn, version)
                await repository.set_version(conn, event, version.document_id, deleted=True)
            told = await self._settle(conn, event, done)
        self.dispatcher.deliver(told)
        return done

    async def _deleted(self, conn: AsyncConnection, version: HeldVersion) -> _Done:
        context = ScheduleContext(conn)
        if version.document_id is not None:
            await self.scheduler.schedule_delete_index(version.document_id, INDEX_STEPS, context)
        if not context.changes or version.document_id is None:
            return _Done(IngestOutcome.ABSENT)
        return _Done(IngestOutcome.DELETED, version.document_id, context.changes[version.document_id])

    async def _upsert(self, event: EventRow, target: Target | None, enabled: Sequence[Kind]) -> _Done:
        kinds = _kinds(event, enabled)
        placed = await self.contents.place(event, target)
        async with self.engine.begin() as conn:
            if not await repository.hold(conn, event.id):
                return _Done(IngestOutcome.SUPERSEDED)
            context = ScheduleContext(conn, self.admission.lane)
            allowance = await self.uploads.share(conn, event.owner, event.collection_id)
            version = await repository.hold_version(conn, event)
            if _is_late(event, version):
                done = _Done(IngestOutcome.SUPERSEDED, version.document_id)
            elif target is None:
                _require_unchanged(await repository.target(conn, event), None)
                await self.uploads.add(placed.document, kinds, context, allowance)
                done = _Done(IngestOutcome.CREATED, placed.document.id, context.changes[placed.document.id])
            else:
                done = await self._replaced(conn, event, target, placed, kinds)
            if done.outcome is not IngestOutcome.SUPERSEDED and done.document_id is not None:
                await repository.describe(conn, done.document_id, {"metadata": event.data.get("metadata", {})})
                await repository.set_version(conn, event, done.document_id, deleted=False)
            told = await self._settle(conn, event, done)
        self.dispatcher.deliver(told)
        await self.contents.tidy(event, placed, target, done.outcome)
        return done

    async def _replaced(
        self, conn: AsyncConnection, event: EventRow, target: Target, placed: Placed, kinds: Sequence[Kind]
    ) -> _Done:
        locked = await lock(conn, target.id)
        _require_unchanged(await repository.target(conn, event), target)
        if locked is None or placed.is_of(target):
            return _Done(IngestOutcome.UNCHANGED, target.id)
        if placed.document.name != target.name:
            await self.uploads.require_free_name(conn, event.collection_id, placed.document.name)
        change = await changes.replace_content(conn, locked, placed.document, kinds=kinds, admission=self.admission)
        return _Done(IngestOutcome.REPLACED, target.id, change)

    async def _settle(self, conn: AsyncConnection, event: EventRow, done: _Done) -> Change:
        await repository.complete(conn, event.id, done.outcome, done.document_id, done.workflow_id)
        fact = outcomes.completed(event, done.outcome, done.document_id, done.workflow_id)
        told = outbox.event(fact, propagate.current_traceparent())
        await outbox.add(await driver(conn), [told])
        return (done.change or Change()).joined(Change((), (told,)))


def _is_late(event: EventRow, version: HeldVersion) -> bool:
    if version.time is None or version.seq is None:
        return False
    carried_out = decide.Version(version.time, version.seq)
    return not decide.newer(decide.Version(event.time, event.seq), carried_out)


def _kinds(event: EventRow, enabled: Sequence[Kind]) -> tuple[Kind, ...]:
    wanted = event.data.get("kinds")
    return tuple(kind for kind in enabled if wanted is None or kind in {StepKind(it) for it in wanted})


def _require_unchanged(now: Target | None, before: Target | None) -> None:
    """What was prepared fits the document as it was then."""
    if now != before:
        raise _Changed
