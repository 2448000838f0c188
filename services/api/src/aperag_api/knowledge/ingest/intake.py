"""Taking events in: deduplicated, their content stored, then their rows and jobs in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from aperag_api.knowledge.ingest import repository
from aperag_api.knowledge.ingest.repository import Key, NewEvent
from aperag_api.knowledge.uploads.names import suffix_of
from aperag_common import ids
from aperag_common.db.models import IngestStatus, Lane
from aperag_common.jobs.declared import INGEST, INGEST_EVENTS
from aperag_common.objects import layout
from aperag_common.telemetry import propagate
from aperag_work import transitions
from aperag_work.change import Change
from aperag_work.opening import SOURCE, in_flight
from aperag_work.rows import Dispatch
from aperag_work.transitions import Wish

if TYPE_CHECKING:
    from typing import Any

    from opentelemetry.trace import Link

    from aperag_api.knowledge.ingest.decide import Asked, Upsert
    from aperag_api.knowledge.uploads.arrivals import Arrivals
    from aperag_common.objects import ObjectStore
    from aperag_work.database import Connection, Database
    from aperag_work.dispatcher import Dispatcher

STORED_AT_A_TIME = 16


@dataclass(frozen=True, slots=True)
class Incoming:
    """A valid event, from whom, for which collection; ``carrier`` is the trace context of the message it came in."""

    owner: str
    collection_id: str
    asked: Asked
    carrier: str | None = None

    @property
    def key(self) -> Key:
        return (self.owner, self.asked.event.source, self.asked.event.id)


@dataclass(frozen=True, slots=True)
class Intake:
    database: Database
    objects: ObjectStore
    dispatcher: Dispatcher
    arrivals: Arrivals
    in_flight_per_owner: int
    first_due: timedelta
    max_pending: int

    async def full(self, arriving: Mapping[str, int]) -> set[str]:
        """Owners for whose events there is no room beside those that wait; ``arriving`` counts events by owner."""
        async with self.database.durable.acquire() as conn:
            waiting = await repository.pending(conn, list(arriving))
        return {owner for owner, count in arriving.items() if waiting.get(owner, 0) + count > self.max_pending}

    async def take(self, incoming: Sequence[Incoming]) -> dict[Key, str]:
        """The status of each event once all of them are safe: ``PENDING`` for a new one.

        What a crash leaves behind between content and rows is garbage that nobody refers to.
        """
        async with self.database.durable.acquire() as conn:
            known = await repository.known(conn, [it.key for it in incoming])
        new = list({it.key: it for it in reversed(incoming) if it.key not in known}.values())[::-1]
        if not new:
            return known
        rows = await self._stored(new)
        change, inserted = await self._insert(rows)
        self.dispatcher.deliver(change)
        await self._drop(row for row in rows if row.id not in inserted)
        return {**known, **{row.key: IngestStatus.PENDING.value for row in rows}}

    async def _stored(self, new: Sequence[Incoming]) -> list[NewEvent]:
        await asyncio.to_thread(self.arrivals.check_room)
        slots = asyncio.Semaphore(STORED_AT_A_TIME)

        async def one(it: Incoming) -> NewEvent:
            async with slots:
                return await self._store(it)

        return list(await asyncio.gather(*(one(it) for it in new)))

    async def _store(self, it: Incoming) -> NewEvent:
        event, upsert = it.asked.event, it.asked.upsert
        document_id = None if upsert is None else str(ids.new_document_id())
        data: dict[str, Any] = {}
        if upsert is not None and document_id is not None:
            data = _described(upsert)
            if upsert.content is not None:
                prefix = layout.document_prefix(it.owner, it.collection_id, document_id)
                path = layout.original(prefix, suffix_of(upsert.name))
                stored = await self.objects.put(path, whole(upsert.content))
                data["content"] = asdict(stored)
        return NewEvent(
            id=str(ids.new_ingest_id()),
            owner=it.owner,
            collection_id=it.collection_id,
            source=event.source,
            event_id=event.id,
            type=event.type,
            subject=it.asked.subject,
            time=event.time,
            data=data,
            new_document_id=document_id,
            traceparent=_trace_of(it),
        )

    async def _insert(self, rows: Sequence[NewEvent]) -> tuple[Change, set[str]]:
        async with self.database.durable.transaction() as conn:
            inserted = await repository.insert(conn, rows)
            made = await self._wanted(conn, [row for row in rows if row.id in inserted])
        return Change(tuple(made)), inserted

    async def _wanted(self, conn: Connection, rows: Sequence[NewEvent]) -> list[Dispatch]:
        """A job for each event; those beyond their owner's share are released as places become free."""
        free = {
            owner: self.in_flight_per_owner - await in_flight(conn, owner, INGEST_EVENTS)
            for owner in sorted({row.owner for row in rows})
        }
        wishes: list[Wish] = []
        for row in rows:
            free[row.owner] -= 1
            dispatch = int(free[row.owner] >= 0)
            wishes.append(
                Wish(INGEST.name, row.id, row.owner, row.collection_id, dispatch=dispatch, traceparent=row.traceparent)
            )
        made = await transitions.want(conn, INGEST, wishes, lane=Lane.INTERACTIVE, first_due=self.first_due)
        return [Dispatch(job, SOURCE) for job, _ in made if job.dispatch > 0]

    async def _drop(self, doubles: Any) -> None:
        """Content of events that another gateway has taken in at the same moment."""
        for row in doubles:
            if row.new_document_id is not None:
                prefix = layout.document_prefix(row.owner, row.collection_id, row.new_document_id)
                await self.objects.delete_prefix(prefix)


async def whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _described(upsert: Upsert) -> dict[str, Any]:
    data: Mapping[str, Any] = {
        "name": upsert.name,
        "reference": upsert.reference,
        "metadata": upsert.metadata,
        "kinds": None if upsert.kinds is None else [kind.value for kind in upsert.kinds],
    }
    return {name: value for name, value in data.items() if value is not None}


def _trace_of(it: Incoming) -> str | None:
    """A trace of our own for all that follows, linked to the sender's: a stranger's trace is never joined."""
    event = it.asked.event
    links: list[Link] = [
        link for it_ in (event.traceparent, it.carrier) if (link := propagate.link_from(it_)) is not None
    ]
    span = propagate.tracer().start_span(
        f"receive {event.type}",
        context=propagate.no_context(),
        kind=SpanKind.CONSUMER,
        links=links,
        attributes={"cloudevents.event_id": event.id, "cloudevents.event_source": event.source},
    )
    span.end()
    return propagate.traceparent_of(span)
