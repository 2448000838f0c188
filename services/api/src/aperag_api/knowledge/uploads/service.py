"""Accepting documents: bytes first, then one transaction for the whole request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError

from aperag_api.access.chats import require_chat
from aperag_api.access.decide import Right
from aperag_api.access.quotas.allowance import hold
from aperag_api.access.service import KnownCollections
from aperag_api.kernel.http.failures import TooManyRequests
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.collections.service import index_kinds
from aperag_api.knowledge.documents import repository as documents
from aperag_api.knowledge.documents.schemas import DocumentList
from aperag_api.knowledge.documents.service import accepted_view, view
from aperag_api.knowledge.uploads import repository
from aperag_api.knowledge.uploads.accepting import accept_at_once
from aperag_api.knowledge.uploads.arrivals import LATER
from aperag_api.knowledge.uploads.decide import confirmable, refusal, sort_received
from aperag_api.knowledge.uploads.intake import Intake
from aperag_api.knowledge.uploads.schemas import ConfirmAnswer, UploadedDocument
from aperag_common import errors
from aperag_common.db.models import DocumentStatus, Lane, QuotaType
from aperag_common.jobs.steps import StepKind
from aperag_work import changes
from aperag_work.document_rows import lock_all
from aperag_work.scheduler import ScheduleContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.access.quotas.allowance import Allowance
    from aperag_api.kernel.multipart import MultipartBody
    from aperag_api.knowledge.documents.schemas import DocumentOut
    from aperag_api.knowledge.uploads.arrivals import Arrivals
    from aperag_api.knowledge.uploads.decide import Sorted
    from aperag_api.knowledge.uploads.intake import Limits
    from aperag_common.objects import ObjectStore
    from aperag_work.accepting import NewDocument
    from aperag_work.database import Pool
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.scheduler import TaskScheduler


@dataclass(frozen=True, slots=True)
class UploadService:
    engine: AsyncEngine
    pool: Pool
    collections: KnownCollections
    objects: ObjectStore
    dispatcher: Dispatcher
    scheduler: TaskScheduler
    limits: Limits
    interactive_documents: int
    arrivals: Arrivals

    async def accept(self, owner: str, collection_id: str, body: MultipartBody) -> DocumentList:
        """All of the request's documents, or none."""
        return await self._accept(self._intake(owner, collection_id, body), "files", self.limits.documents)

    async def accept_in_chat(self, owner: str, collection_id: str, chat_id: str, body: MultipartBody) -> DocumentOut:
        """The one file of the request, as one of the chat's; the collection is the owner's for that."""
        intake = self._intake(owner, collection_id, body, chat_id)
        return (await self._accept(intake, "file", 1)).items[0]

    async def _accept(self, whole: Intake, field: str, at_most: int) -> DocumentList:
        owner, collection_id = whole.owner, whole.collection_id
        async with self.arrivals.one(owner), whole as intake:
            kinds = await self._kinds(owner, collection_id)
            received = await intake.receive(field, at_most=at_most)
            if not received:
                raise _missing(field)
            intake.committing = True
            if intake.chat_id is None and (answer := await self._accept_at_once(intake, kinds)) is not None:
                return answer
            async with self.engine.begin() as conn:
                if intake.chat_id is not None:
                    await require_chat(conn, owner, intake.chat_id, hold=True)
                context = ScheduleContext(conn, self._lane(len(received)))
                sorted_ = await self._insert(received, kinds, context)
                rows = await documents.get_many(conn, collection_id, sorted_.ids, owner)
            self.dispatcher.deliver(*context.changes.values())
            for document in sorted_.new:
                intake.keep(document.id)
        return DocumentList(items=[view(rows[id_]) for id_ in sorted_.ids])

    async def _accept_at_once(self, intake: Intake, kinds: Sequence[StepKind]) -> DocumentList | None:
        """The usual upload; None where something about it needs a second look."""
        received = intake.received
        context = await accept_at_once(self.pool, self.scheduler, received, kinds, self._lane(len(received)))
        if context is None or context.accepted_at is None:
            return None
        self.dispatcher.deliver(*context.changes.values())
        for document in received:
            intake.keep(document.id)
        tasks = {id_: change.workflow_id for id_, change in context.changes.items()}
        return DocumentList(items=[accepted_view(it, kinds, tasks[it.id], context.accepted_at) for it in received])

    async def stage(self, owner: str, collection_id: str, body: MultipartBody) -> UploadedDocument:
        """The first half of the two-step upload; unconfirmed documents expire."""
        async with self.arrivals.one(owner), self._intake(owner, collection_id, body) as intake:
            await self._kinds(owner, collection_id)
            await self._check_staged(owner)
            received = await intake.receive("file", at_most=1)
            if not received:
                raise _missing("file")
            intake.committing = True
            async with self.engine.begin() as conn:
                await changes.share_collection(conn, collection_id, owner)
                taken = await repository.lock_names(conn, collection_id, [received[0].name])
                sorted_ = sort_received(received, taken)
                for document in sorted_.new:
                    await changes.stage(conn, document)
            for document in sorted_.new:
                intake.keep(document.id)
        existing = taken.get(received[0].name)
        return UploadedDocument(
            document_id=sorted_.ids[0],
            filename=received[0].name,
            size=received[0].size,
            status=existing.status if existing else DocumentStatus.UPLOADED.value,
        )

    async def confirm(self, owner: str, collection_id: str, document_ids: Sequence[str]) -> ConfirmAnswer:
        kinds = await self._kinds(owner, collection_id)
        wanted = sorted(set(document_ids))
        async with self.engine.begin() as conn:
            context = ScheduleContext(conn, self._lane(len(wanted)))
            allowance = await hold(conn, owner, QuotaType.DOCUMENTS)
            await changes.share_collection(conn, collection_id, owner)
            locked = await lock_all(conn, wanted)
            context.staged |= confirmable(locked, owner, collection_id)
            await allowance.take(conn, len(context.staged), collection_id=collection_id)
            for document_id in list(context.staged):
                await self.scheduler.schedule_create_index(document_id, kinds, context)
        self.dispatcher.deliver(*context.changes.values())
        failed = [refusal(id_, locked.get(id_), owner, collection_id) for id_ in wanted if id_ not in context.changes]
        return ConfirmAnswer(
            confirmed_count=len(context.changes),
            failed_count=len(failed),
            failed_documents=failed,
            task_ids={id_: change.workflow_id for id_, change in context.changes.items()},
        )

    async def share(self, conn: AsyncConnection, owner: str, collection_id: str) -> Allowance:
        """The locks that adding to a collection begins with; raises where it is not there to be added to."""
        allowance = await hold(conn, owner, QuotaType.DOCUMENTS)
        await changes.share_collection(conn, collection_id, owner)
        return allowance

    async def add(
        self, document: NewDocument, kinds: Sequence[StepKind], context: ScheduleContext, allowance: Allowance
    ) -> None:
        """A document whose bytes are stored, in the caller's transaction, which has begun with ``share``."""
        await self.require_free_name(context.transaction, document.collection_id, document.name)
        await allowance.take(context.transaction, collection_id=document.collection_id)
        context.new[document.id] = document
        await self.scheduler.schedule_create_index(document.id, kinds, context)

    async def require_free_name(self, conn: AsyncConnection, collection_id: str, name: str) -> None:
        """Raises ``DocumentNameConflict``; until this transaction ends nobody else takes the name."""
        taken = (await repository.lock_names(conn, collection_id, [name])).get(name)
        if taken is not None:
            message = f"Another document of the collection is named {name!r}: give this one another name"
            raise errors.DocumentNameConflict(message, details={"document_id": taken.id})

    async def _check_staged(self, owner: str) -> None:
        """What is not confirmed counts against no quota, and must not fill the disk for that."""
        async with reading(self.engine) as conn:
            waiting = await repository.staged(conn, owner)
        if waiting >= self.limits.staged:
            message = f"{waiting} of your uploads wait to be confirmed: confirm them, or wait until they expire"
            raise TooManyRequests(message, retry_after=LATER)

    def _intake(self, owner: str, collection_id: str, body: MultipartBody, chat_id: str | None = None) -> Intake:
        return Intake(self.objects, body, owner, collection_id, self.limits, chat_id)

    async def _kinds(self, owner: str, collection_id: str) -> tuple[StepKind, ...]:
        """Looked up before any byte is read: nobody stores into a collection that is not theirs."""
        return index_kinds((await self.collections.open(owner, collection_id, Right.CHANGE)).config)

    async def _insert(
        self, received: Sequence[NewDocument], kinds: Sequence[StepKind], context: ScheduleContext
    ) -> Sorted:
        conn, collection_id, owner = context.transaction, received[0].collection_id, received[0].owner
        allowance = await self.share(conn, owner, collection_id)
        names = [document.name for document in received]
        taken = await repository.lock_names(conn, collection_id, names, received[0].chat_id)
        sorted_ = sort_received(received, taken)
        # Posting bytes that wait for their confirmation asks for them to be indexed.
        posted = set(sorted_.ids)
        unconfirmed = [d.id for d in taken.values() if d.status == DocumentStatus.UPLOADED and d.id in posted]
        await allowance.take(conn, len(sorted_.new) + len(unconfirmed), collection_id=collection_id)
        context.new |= {document.id: document for document in sorted_.new}
        context.staged |= confirmable(await lock_all(conn, unconfirmed), owner, collection_id)
        for document_id in [*context.new, *context.staged]:
            await self.scheduler.schedule_create_index(document_id, kinds, context)
        return sorted_

    def _lane(self, count: int) -> Lane:
        return Lane.INTERACTIVE if count <= self.interactive_documents else Lane.BULK


def _missing(field: str) -> RequestValidationError:
    """FastAPI's own answer to a required form field that is not there."""
    return RequestValidationError([{"type": "missing", "loc": ("body", field), "msg": "Field required", "input": None}])
