"""SQL of deliveries; every statement names the owner."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL
from aperag_common.events.webhooks import WebhookTest
from aperag_common.jobs.declared import WEBHOOK_DELIVER
from aperag_work.delivery_rules import EventToSend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page
    from aperag_common.db.models.webhook import DeliveryStatus


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """``attempts`` as the model ``WebhookDelivery`` describes them."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    status: str
    attempts: list[dict[str, Any]]
    next_attempt_at: datetime | None
    created: datetime
    settled_at: datetime | None
    payload: str


# A job that was given up by the engine itself (its workers died) has left its delivery as it was.
_STATUS = "CASE WHEN d.status = 'pending' AND j.status = 'FAILED' THEN 'failed' ELSE d.status END"
_FROM = f"""
    FROM webhook_delivery d LEFT JOIN job j ON j.subject_id = d.id AND j.kind = '{WEBHOOK_DELIVER.name}'
    WHERE d.endpoint_id = :webhook AND d.owner = :owner
"""
_SELECT = f"""
    SELECT d.id, d.endpoint_id, d.event_id, d.event_type, d.attempts, d.created, d.payload, {_STATUS} AS status,
        coalesce(d.settled_at, j.settled_at) AS settled_at,
        CASE WHEN j.status IN {OPEN_SQL} AND j.dispatch < 0 THEN j.due_at END AS next_attempt_at
    {_FROM}
"""
_ASKED = f"AND (CAST(:status AS text) IS NULL OR {_STATUS} = :status)"
_LIST = text(f"{_SELECT} {_ASKED} ORDER BY d.created DESC, d.id LIMIT :limit OFFSET :offset")
_COUNT = text(f"SELECT count(*) {_FROM} {_ASKED}")
_FIND = text(f"{_SELECT} AND d.id = :id")
_BETWEEN = text(
    f"""
    SELECT d.id {_FROM} AND d.created >= :since AND d.created < :until
        AND (NOT :failed_only OR {_STATUS} = 'failed') AND d.event_type <> :test
    ORDER BY d.created, d.id LIMIT :limit
    """
)
_PENDING = text(
    """
    UPDATE webhook_delivery SET status = 'pending', settled_at = NULL WHERE id IN (
        SELECT id FROM webhook_delivery WHERE id = ANY(:ids) AND endpoint_id = :webhook AND owner = :owner
        ORDER BY id FOR NO KEY UPDATE)
    RETURNING id
    """
)
_EVENTS = text(
    """
    SELECT payload::text AS payload, traceparent FROM outbox
    WHERE created >= :since AND created < :until AND split_part(subject, '.', 3) = :owner
    ORDER BY created LIMIT :limit
    """
)
_NOW = text("SELECT clock_timestamp()")


async def now(conn: AsyncConnection) -> datetime:
    found: datetime = (await conn.execute(_NOW)).scalar_one()
    return found


async def list_page(
    conn: AsyncConnection, owner: str, webhook_id: str, status: DeliveryStatus | None, *, page: Page
) -> tuple[list[DeliveryRow], int]:
    """The newest first, and the number of all."""
    values = {"owner": owner, "webhook": webhook_id, "status": status}
    total = int((await conn.execute(_COUNT, values)).scalar_one())
    rows = await conn.execute(_LIST, {**values, **page.bounds})
    return [DeliveryRow(**row._mapping) for row in rows], total


async def find(conn: AsyncConnection, owner: str, webhook_id: str, delivery_id: str) -> DeliveryRow | None:
    values = {"owner": owner, "webhook": webhook_id, "id": delivery_id}
    row = (await conn.execute(_FIND, values)).one_or_none()
    return None if row is None else DeliveryRow(**row._mapping)


async def between(
    conn: AsyncConnection,
    owner: str,
    webhook_id: str,
    since: datetime,
    until: datetime,
    *,
    failed_only: bool,
    limit: int,
) -> list[str]:
    """The oldest first, without those of tests."""
    values: dict[str, Any] = {"owner": owner, "webhook": webhook_id, "since": since, "until": until}
    values |= {"failed_only": failed_only, "limit": limit, "test": WebhookTest.type_name}
    return list((await conn.execute(_BETWEEN, values)).scalars())


async def mark_pending(conn: AsyncConnection, owner: str, webhook_id: str, ids: Sequence[str]) -> list[str]:
    """Those that are there."""
    return list((await conn.execute(_PENDING, {"owner": owner, "webhook": webhook_id, "ids": list(ids)})).scalars())


async def events_between(
    conn: AsyncConnection, owner: str, since: datetime, until: datetime, *, limit: int
) -> list[EventToSend]:
    """Facts of the owner that are still remembered, the oldest first."""
    rows = await conn.execute(_EVENTS, {"owner": owner, "since": since, "until": until, "limit": limit})
    return [EventToSend.parse(row.payload, row.traceparent) for row in rows]


def event_of(payload: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(payload)
    return event
