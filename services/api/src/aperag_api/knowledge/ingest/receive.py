"""Events that come over NATS: each is taken in, or refused where a person can see it; none holds up the next."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from aperag_api.knowledge.ingest import cloudevents, decide, repository
from aperag_api.knowledge.ingest.intake import Incoming
from aperag_api.knowledge.ingest.outcomes import failed
from aperag_api.knowledge.ingest.refusals import CollectionMissing, RefusedEvent
from aperag_common import errors, ids, subjects
from aperag_common.bus.consume import unexpected_delay
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.events.fact import IngestData
from aperag_common.telemetry import propagate
from aperag_work import dead_letters, outbox
from aperag_work.change import Change
from aperag_work.database import AWAY, FAILURES
from aperag_work.failures import storable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_api.knowledge.ingest.intake import Intake
    from aperag_common.bus.delivery import Delivery, Settlement
    from aperag_common.metrics import Metrics
    from aperag_work.database import Connection, Database
    from aperag_work.dispatcher import Dispatcher

log = structlog.get_logger(__name__)

FULL_DELAY = timedelta(seconds=5)
LONGEST_FULL_DELAY = timedelta(minutes=1)
LONGEST_ID = 24
_LETTERS = uuid.UUID("5b0f4c7c-5a0e-4a0b-9a3a-7a54fb5a2f10")


@dataclass(frozen=True, slots=True)
class _Refusal:
    """``owner`` and ``collection_id`` None: the subject names none that could be."""

    owner: str | None
    collection_id: str | None
    why: errors.ApeRAGError


@dataclass(frozen=True, slots=True)
class Receive:
    intake: Intake
    database: Database
    dispatcher: Dispatcher
    metrics: Metrics
    max_content: int

    async def work(self, deliveries: Sequence[Delivery]) -> None:
        """All together; where that fails, each on its own, so that one event's error is not its neighbours'."""
        judged: dict[Delivery, Incoming | _Refusal] = {}
        for delivery in await self._with_room(deliveries):
            judged[delivery] = self._judge(delivery)
            await asyncio.sleep(0)  # a batch may hold many megabytes, and requests are answered meanwhile
        for delivery, found in judged.items():
            if isinstance(found, _Refusal):
                delivery.settle(await self._settled_refusal(delivery, found))
        valid = {delivery: found for delivery, found in judged.items() if isinstance(found, Incoming)}
        try:
            await self._take(valid)
        except (*FAILURES, errors.ApeRAGError) as err:
            if isinstance(err, (*AWAY, errors.ApeRAGError)) or len(valid) < 2:
                await self._not_taken(valid, err)
            else:
                for delivery, incoming in valid.items():
                    await self._alone(delivery, incoming)

    async def _with_room(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those whose owners may have more waiting; the others go back unread, for there may be very many of them."""
        owners = {delivery: _addressed(delivery.subject)[0] for delivery in deliveries}
        try:
            full = await self.intake.full(Counter(owner for owner in owners.values() if owner is not None))
        except FAILURES as err:
            log.warning("ingest.not_taken", events=len(deliveries), error=repr(err))
            for delivery in deliveries:
                delivery.settle(Nak(unexpected_delay(delivery.number), outcome="error"))
            return []
        for delivery, owner in owners.items():
            if owner in full:
                delivery.settle(Nak(_later(delivery.number), outcome="full"))
        return [delivery for delivery, owner in owners.items() if owner not in full]

    async def _take(self, valid: dict[Delivery, Incoming]) -> None:
        if not valid:
            return
        await self.intake.take(list(valid.values()))
        for delivery in valid:
            delivery.settle(Ack())

    async def _alone(self, delivery: Delivery, incoming: Incoming) -> None:
        try:
            await self._take({delivery: incoming})
        except (*FAILURES, errors.ApeRAGError) as err:
            await self._not_taken({delivery: incoming}, err)

    async def _not_taken(self, valid: dict[Delivery, Incoming], err: Exception) -> None:
        """What passes is tried again; a value that the database will never hold is refused."""
        passing = isinstance(err, (*AWAY, errors.Retryable))
        log.warning("ingest.not_taken", events=len(valid), error=repr(err))
        for delivery, it in valid.items():
            if passing or delivery.number < 3:
                delivery.settle(Nak(unexpected_delay(delivery.number), outcome="error"))
            else:
                why = RefusedEvent(f"the event cannot be stored: {type(err).__name__}", code="UNSTORABLE_EVENT")
                delivery.settle(await self._settled_refusal(delivery, _Refusal(it.owner, it.collection_id, why)))

    def _judge(self, delivery: Delivery) -> Incoming | _Refusal:
        owner, collection_id = _addressed(delivery.subject)
        if owner is None or collection_id is None:
            why = CollectionMissing(f"The subject {delivery.subject[:200]} names no collection of anybody")
            return _Refusal(owner, None, why)
        try:
            event = cloudevents.from_nats(delivery.headers, delivery.raw.data)
            asked = decide.asked(event, datetime.now(UTC), max_content=self.max_content)
        except errors.ClientError as err:
            return _Refusal(owner, collection_id, err)
        except Exception:  # the settle point: what no reader foresaw must not come back with its neighbours for ever
            log.exception("ingest.unreadable", subject=delivery.subject)
            return _Refusal(owner, collection_id, RefusedEvent("The event cannot be read; the service's log says why"))
        return Incoming(owner, collection_id, asked, delivery.headers.get(propagate.TRACEPARENT))

    async def _settled_refusal(self, delivery: Delivery, refusal: _Refusal) -> Settlement:
        try:
            async with self.database.durable.transaction() as conn:
                told = await self._refuse(conn, delivery, refusal)
        except FAILURES as err:
            log.warning("ingest.refusal_unrecorded", error=repr(err))
            return Nak(unexpected_delay(delivery.number), outcome="error")
        if told is not None:
            self.dispatcher.deliver(Change((), tuple(told)))
            self.metrics.dead_letters.labels(refusal.why.error_code).inc()
            log.warning("ingest.refused", subject=delivery.subject, code=refusal.why.error_code)
        return Ack(outcome="refused")

    async def _refuse(self, conn: Connection, delivery: Delivery, refusal: _Refusal) -> list[outbox.OutboxEvent] | None:
        """A dead letter, the event's row where it has a key, and the fact; None where all of that is there already."""
        why = refusal.why
        letter = dead_letters.letter_of(why, delivery=delivery, attempt=delivery.number)
        letter["message"] = storable(why.message)
        letter |= {"owner": refusal.owner, "collection_id": refusal.collection_id, "id": _letter_id(delivery)}
        told = cloudevents.named(delivery.headers, delivery.raw.data)
        source, event_id, subject = (told.get(name) for name in ("source", "id", "subject"))
        if refusal.owner and refusal.collection_id and source and event_id:
            row = repository.NewEvent(
                id=str(ids.new_ingest_id()),
                owner=refusal.owner,
                collection_id=refusal.collection_id,
                source=source,
                event_id=event_id,
                type=told.get("type", ""),
                subject=subject,
                time=None,
                data={},
                code=why.error_code,
                message=letter["message"],
            )
            if not await repository.insert(conn, [row]):
                return None
        if not await dead_letters.add(conn, letter):
            return None
        if refusal.owner is None:
            return []
        data = IngestData(source=source, id=event_id, subject=subject, collection_id=refusal.collection_id)
        about = str(letter["id"])
        events = [outbox.event(failed(refusal.owner, about, data, why), letter["traceparent"])]
        await outbox.add(conn, events)
        return events


def _addressed(subject: str) -> tuple[str | None, str | None]:
    """The owner and the collection, each only where a row can hold it."""
    try:
        owner, collection_id = subjects.parse_ingest(subject)
    except ValueError:
        return None, None
    return (owner if len(owner) <= LONGEST_ID else None), (collection_id if len(collection_id) <= LONGEST_ID else None)


def _later(number: int) -> timedelta:
    """After the ``number``-th delivery: what has waited long is asked for less often."""
    return min(FULL_DELAY * (1 << min(number - 1, 10)), LONGEST_FULL_DELAY)


def _letter_id(delivery: Delivery) -> uuid.UUID:
    """The same for each delivery of one message: a refusal that is repeated after a crash is one letter."""
    metadata = delivery.raw.metadata
    return uuid.uuid5(_LETTERS, f"{metadata.sequence.stream} {metadata.timestamp.isoformat()}")
