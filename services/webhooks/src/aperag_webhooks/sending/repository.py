"""SQL of sending: deliveries read together, and written together with what became of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from aperag_common.db.models.webhook import DeliveryStatus
from aperag_work.database import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from aperag_common.db.models.webhook import DisabledReason
    from aperag_webhooks.sending.decide import Attempt
    from aperag_work.database import Connection

KEPT_ATTEMPTS = 30
"""A delivery that people redeliver again and again keeps its last ones."""

_LOAD = Statement(
    "read webhook deliveries",
    """
    SELECT d.id, d.endpoint_id, d.owner, d.payload, e.url, e.secret,
        CASE WHEN e.previous_until > clock_timestamp() THEN e.previous_secret END AS previous_secret,
        e.disabled_at IS NOT NULL AS disabled
    FROM webhook_delivery d JOIN webhook_endpoint e ON e.id = d.endpoint_id WHERE d.id = ANY($1::text[])
    """,
)
_WITH_ATTEMPT = f"""CASE WHEN jsonb_array_length(d.attempts) >= {KEPT_ATTEMPTS} THEN d.attempts - 0 ELSE d.attempts END
    || coalesce(a.attempt, '[]')"""
_ATTEMPTS = """(SELECT u.id, u.status, u.attempt::jsonb AS attempt
    FROM unnest($1::text[], $2::text[], $3::text[]) AS u(id, status, attempt)) a"""

_LOCK = Statement(
    "lock webhook deliveries",
    "SELECT id FROM webhook_delivery WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE",
)
# Nearly always there is no failure to forget, and the endpoint's row is not touched. One that is held is not waited
# for, since endpoints are locked before their deliveries: whoever holds it changes it, or has just seen it fail.
_SETTLE = Statement(
    "settle webhook deliveries",
    f"""
    WITH written AS (
        UPDATE webhook_delivery d SET status = a.status, settled_at = clock_timestamp(), attempts = {_WITH_ATTEMPT}
        FROM {_ATTEMPTS} WHERE d.id = a.id RETURNING d.endpoint_id, d.status
    )
    UPDATE webhook_endpoint SET failing_since = NULL WHERE id IN (
        SELECT id FROM webhook_endpoint WHERE failing_since IS NOT NULL
            AND id IN (SELECT endpoint_id FROM written WHERE status = '{DeliveryStatus.DELIVERED}')
        FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING id
    """,
)
_LOCK_WELL = Statement(
    "lock webhooks that did not fail",
    """
    SELECT id FROM webhook_endpoint
    WHERE failing_since IS NULL AND id IN (SELECT endpoint_id FROM webhook_delivery WHERE id = ANY($1::text[]))
    ORDER BY id FOR NO KEY UPDATE
    """,
)
_RECORD = Statement(
    "record failed webhook attempts",
    f"""
    WITH written AS (
        UPDATE webhook_delivery d SET attempts = {_WITH_ATTEMPT} FROM {_ATTEMPTS} WHERE d.id = a.id
        RETURNING d.id, d.endpoint_id
    ), begun AS (
        UPDATE webhook_endpoint SET failing_since = clock_timestamp() WHERE id = ANY($5::text[])
    )
    SELECT w.id, coalesce(e.failing_since < clock_timestamp() - $4::interval, false) AS too_long
    FROM written w JOIN webhook_endpoint e ON e.id = w.endpoint_id
    """,
)
_DISABLE = Statement(
    "disable a webhook",
    """
    UPDATE webhook_endpoint SET disabled_at = clock_timestamp(), disabled_reason = $2
    WHERE id = $1 AND disabled_at IS NULL RETURNING owner, failing_since
    """,
)


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery with its endpoint as it is now; secrets are as they are stored."""

    id: str
    endpoint_id: str
    owner: str
    payload: str
    url: str
    secret: str
    previous_secret: str | None
    disabled: bool


@dataclass(frozen=True, slots=True)
class Disabled:
    owner: str
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Settled:
    """``attempt`` is None where nothing was sent."""

    id: str
    status: DeliveryStatus
    attempt: Attempt | None


async def load(conn: Connection, ids: Sequence[str]) -> list[DeliveryRow | None]:
    """In the order asked; None for one whose endpoint was deleted."""
    found = {row["id"]: DeliveryRow(**dict(row)) for row in await _LOAD.fetch(conn, list(ids))}
    return [found.get(it) for it in ids]


async def lock(conn: Connection, ids: Sequence[str]) -> None:
    await _LOCK.fetch(conn, list(ids))


async def settle(conn: Connection, settled: Sequence[Settled]) -> None:
    """The deliveries are locked."""
    await _SETTLE.fetch(
        conn, [it.id for it in settled], [it.status.value for it in settled], [_json(it.attempt) for it in settled]
    )


async def record(conn: Connection, failed: Sequence[tuple[str, Attempt]], *, disable_after: timedelta) -> list[bool]:
    """In the caller's transaction, keep failed attempts; whether the endpoint of each has been failing for too long."""
    attempts = {delivery_id: _json(attempt) for delivery_id, attempt in sorted(failed, key=lambda it: it[0])}
    begun = [row["id"] for row in await _LOCK_WELL.fetch(conn, list(attempts))]
    values = (list(attempts), [None] * len(attempts), list(attempts.values()), disable_after, begun)
    too_long = {row["id"]: row["too_long"] for row in await _RECORD.fetch(conn, *values)}
    return [too_long.get(delivery_id, False) for delivery_id, _ in failed]


async def disable(conn: Connection, endpoint_id: str, reason: DisabledReason) -> Disabled | None:
    """None where it was disabled before."""
    row = await _DISABLE.row(conn, endpoint_id, reason.value)
    return None if row is None else Disabled(row["owner"], row["failing_since"])


def _json(attempt: Attempt | None) -> str | None:
    return None if attempt is None else json.dumps({**asdict(attempt), "at": attempt.at.isoformat()})
