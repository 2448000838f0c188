"""The log of deliveries, and sending again: one, many since a time, or an event made for a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_api.kernel.paging import Paged
from aperag_api.kernel.reading import reading
from aperag_api.operations.webhooks import log, repository
from aperag_api.operations.webhooks.schemas import (
    MOST_REPLAYED,
    AttemptOut,
    DeliveryDetails,
    DeliveryOut,
    Queued,
    ReplayAnswer,
)
from aperag_api.operations.webhooks.service import found
from aperag_common import errors
from aperag_common.db.models.webhook import DeliveryStatus
from aperag_common.events.webhooks import WebhookTest, WebhookTestData
from aperag_common.telemetry import propagate
from aperag_work import deliveries
from aperag_work.change import Change
from aperag_work.database import driver
from aperag_work.delivery_rules import EventToSend, Subscribed, delivery, wants
from aperag_work.rows import Dispatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.kernel.paging import Page
    from aperag_api.operations.webhooks.log import DeliveryRow
    from aperag_api.operations.webhooks.repository import WebhookRow
    from aperag_api.operations.webhooks.schemas import ReplayRequest
    from aperag_common.settings import WorkSettings
    from aperag_work.delivery_rules import NewDelivery
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.rows import JobRow

SOURCE = "api"
BATCH = 500


@dataclass(frozen=True, slots=True)
class DeliveryService:
    engine: AsyncEngine
    dispatcher: Dispatcher
    work: WorkSettings

    async def list(
        self, owner: str, webhook_id: str, status: DeliveryStatus | None, *, page: Page
    ) -> Paged[DeliveryOut]:
        async with reading(self.engine) as conn:
            found(await repository.find(conn, owner, webhook_id), webhook_id)
            rows, total = await log.list_page(conn, owner, webhook_id, status, page=page)
        return Paged[DeliveryOut].of([DeliveryOut(**_shown(row)) for row in rows], total=total, page=page)

    async def get(self, owner: str, webhook_id: str, delivery_id: str) -> DeliveryDetails:
        async with reading(self.engine) as conn:
            row = await log.find(conn, owner, webhook_id, delivery_id)
        if row is None:
            raise _unknown(delivery_id)
        attempts = [AttemptOut(**it) for it in row.attempts]
        return DeliveryDetails(**_shown(row), payload=log.event_of(row.payload), log=attempts)

    async def test(self, owner: str, webhook_id: str) -> Queued:
        data = WebhookTestData(webhook_id=webhook_id)
        message = WebhookTest.of(data, source=SOURCE, subject=webhook_id, owner=owner)
        new = delivery(webhook_id, EventToSend.parse(message.encode(), propagate.current_traceparent()))
        async with self.engine.begin() as conn:
            _require_enabled(found(await repository.find(conn, owner, webhook_id), webhook_id))
            jobs = await self._insert(conn, [new])
        self._deliver(jobs)
        return Queued(delivery_id=new.id)

    async def redeliver(self, owner: str, webhook_id: str, delivery_id: str) -> Queued:
        async with self.engine.begin() as conn:
            _require_enabled(found(await repository.find(conn, owner, webhook_id), webhook_id))
            if not await log.mark_pending(conn, owner, webhook_id, [delivery_id]):
                raise _unknown(delivery_id)
            jobs = await self._again(conn, owner, [delivery_id], at_once=True)
        self._deliver(jobs)
        return Queued(delivery_id=delivery_id)

    async def replay(self, owner: str, webhook_id: str, asked: ReplayRequest) -> ReplayAnswer:
        """Each batch is a transaction of its own: a replay that is interrupted may be repeated."""
        async with reading(self.engine) as conn:
            webhook = found(await repository.find(conn, owner, webhook_id), webhook_id)
            _require_enabled(webhook)
            until = asked.until or await log.now(conn)
            sent = await log.between(
                conn, owner, webhook_id, asked.since, until, failed_only=asked.failed_only, limit=MOST_REPLAYED + 1
            )
            new = [] if asked.failed_only else await self._missed(conn, owner, webhook, asked.since, until)
        if len(sent) > MOST_REPLAYED:
            raise _too_many("deliveries")
        added = await self._send_missed(new)
        await self._send_again(owner, webhook_id, sent)
        self.dispatcher.wake()
        return ReplayAnswer(deliveries=len(sent) + added, added=added)

    async def _missed(
        self, conn: AsyncConnection, owner: str, webhook: WebhookRow, since: datetime, until: datetime
    ) -> Sequence[NewDelivery]:
        """Of events that the endpoint wants now; those that have a delivery already make no second one."""
        events = await log.events_between(conn, owner, since, until, limit=MOST_REPLAYED + 1)
        if len(events) > MOST_REPLAYED:
            raise _too_many("events")
        endpoint = Subscribed(webhook.id, owner, webhook.types, webhook.collection_ids, webhook.created)
        return [delivery(webhook.id, event) for event in events if wants(endpoint, event)]

    async def _send_missed(self, new: Sequence[NewDelivery]) -> int:
        added = 0
        for at in range(0, len(new), BATCH):
            async with self.engine.begin() as conn:
                jobs = await self._insert(conn, new[at : at + BATCH])
            self._deliver(jobs)
            added += len(jobs)
        return added

    async def _send_again(self, owner: str, webhook_id: str, sent: Sequence[str]) -> None:
        for at in range(0, len(sent), BATCH):
            async with self.engine.begin() as conn:
                there = await log.mark_pending(conn, owner, webhook_id, sent[at : at + BATCH])
                await self._again(conn, owner, there, at_once=False)

    async def _insert(self, conn: AsyncConnection, new: Sequence[NewDelivery]) -> Sequence[JobRow]:
        work = self.work
        return await deliveries.insert(
            await driver(conn), new, in_flight_per_owner=work.in_flight_per_owner, first_due=work.first_due
        )

    async def _again(self, conn: AsyncConnection, owner: str, ids: Sequence[str], *, at_once: bool) -> Sequence[JobRow]:
        raw = await driver(conn)
        return await deliveries.want_again(raw, ids, owner, first_due=self.work.first_due, at_once=at_once)

    def _deliver(self, jobs: Sequence[JobRow]) -> None:
        self.dispatcher.deliver(Change(tuple(Dispatch(job, SOURCE) for job in jobs if job.dispatch > 0)))


def _require_enabled(webhook: WebhookRow) -> None:
    if webhook.disabled_at is not None:
        raise errors.Conflict("This webhook is disabled, so nothing is sent to it: enable it first")


def _too_many(what: str) -> errors.InvalidParameter:
    return errors.InvalidParameter(
        f"More than {MOST_REPLAYED} {what} belong to that time: name a later since, or an until, and replay part by part"
    )


def _unknown(delivery_id: str) -> errors.NotFound:
    return errors.NotFound(f"Delivery {delivery_id} not found")


def _shown(row: DeliveryRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "webhook_id": row.endpoint_id,
        "event_id": row.event_id,
        "event_type": row.event_type,
        "status": row.status,
        "attempts": len(row.attempts),
        "last": row.attempts[-1] if row.attempts else None,
        "next_attempt_at": row.next_attempt_at,
        "created": row.created,
        "settled_at": row.settled_at,
    }
