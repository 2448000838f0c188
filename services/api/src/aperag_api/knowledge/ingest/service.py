"""Events that come over HTTP, and what became of each event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aperag_api.access.decide import Right
from aperag_api.access.service import collection_for
from aperag_api.kernel.auth import keep_within
from aperag_api.kernel.http.failures import TooManyRequests
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.ingest import cloudevents, decide, repository
from aperag_api.knowledge.ingest.intake import Incoming
from aperag_api.knowledge.ingest.refusals import CollectionMissing, RefusedEvent
from aperag_api.knowledge.ingest.schemas import AcceptedEvent, AcceptedEvents, IngestEventOut
from aperag_common import errors
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_api.knowledge.ingest.apply import Apply
    from aperag_api.knowledge.ingest.cloudevents import Event
    from aperag_api.knowledge.ingest.intake import Intake
    from aperag_api.knowledge.ingest.receive import Receive
    from aperag_api.knowledge.ingest.repository import EventRow
    from aperag_api.knowledge.ingest.settings import IngestSettings

AGAIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class IngestService:
    """``receive`` takes what comes over NATS, ``apply`` carries events out: the process' worker calls both."""

    engine: AsyncEngine
    intake: Intake
    receive: Receive
    apply: Apply
    settings: IngestSettings

    async def accept(
        self, caller: Caller, headers: Mapping[str, str], body: bytes, collection: str | None
    ) -> AcceptedEvents:
        """All events of the request, or none."""
        incoming = self._judged(caller, cloudevents.from_http(headers, body), collection)
        async with reading(self.engine) as conn:
            for collection_id in sorted({it.collection_id for it in incoming}):
                keep_within(caller, collection_id)
                await collection_for(conn, caller.user_id, collection_id, Right.CHANGE)
        if await self.intake.full({caller.user_id: len(incoming)}):
            message = f"{self.settings.max_pending} events of yours wait to be carried out: send the next ones later"
            raise TooManyRequests(message, retry_after=AGAIN)
        statuses = await self.intake.take(incoming)
        return AcceptedEvents(
            accepted=[
                AcceptedEvent(id=it.asked.event.id, source=it.asked.event.source, status=statuses[it.key])
                for it in incoming
            ]
        )

    async def get(self, caller: Caller, source: str, id_: str) -> IngestEventOut:
        async with reading(self.engine) as conn:
            row = await repository.find(conn, caller.user_id, source, id_)
        if row is None:
            raise errors.NotFound(f"No event with source {source!r} and id {id_!r} has come, or it is forgotten by now")
        keep_within(caller, row.collection_id)
        return _view(row)

    def _judged(self, caller: Caller, events: Sequence[Event], collection: str | None) -> list[Incoming]:
        if not 0 < len(events) <= self.settings.max_batch:
            raise RefusedEvent(f"A batch holds 1 to {self.settings.max_batch} events, not {len(events)}")
        now = datetime.now(UTC)
        judged: list[Incoming] = []
        for number, event in enumerate(events, start=1):
            try:
                judged.append(self._one(caller, event, collection, now))
            except errors.ClientError as err:
                if len(events) > 1:
                    err.message = f"Event {number} of the batch: {err.message}"
                err.details |= {"source": event.source, "id": event.id}
                raise
        return judged

    def _one(self, caller: Caller, event: Event, collection: str | None, now: datetime) -> Incoming:
        collection_id = event.collection or collection
        if not collection_id:
            message = "The event names no collection: give its id as the attribute or the parameter 'collection'"
            raise CollectionMissing(message)
        asked = decide.asked(event, now, max_content=self.settings.max_content)
        return Incoming(caller.user_id, collection_id, asked, propagate.current_traceparent())


def _view(row: EventRow) -> IngestEventOut:
    return IngestEventOut(
        source=row.source,
        id=row.event_id,
        type=row.type,
        subject=row.subject,
        collection_id=row.collection_id,
        status=row.status,
        outcome=row.outcome,
        document_id=row.document_id,
        task_id=row.workflow_id,
        code=row.code,
        message=row.message,
        received=row.received,
        settled=row.settled,
    )
