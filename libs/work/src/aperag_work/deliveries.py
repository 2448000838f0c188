"""Deliveries to webhooks with their jobs: made once for each event and endpoint, however often the event comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common import ids
from aperag_common.db.models.base import Lane
from aperag_common.jobs.declared import WEBHOOK_DELIVER, WEBHOOKS
from aperag_common.jobs.kind import kinds_in
from aperag_work import transitions
from aperag_work.accepting import PUBLISHED
from aperag_work.database import Statement, columns
from aperag_work.delivery_rules import Subscribed
from aperag_work.rows import JobRow, columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from aperag_work.database import Connection
    from aperag_work.delivery_rules import NewDelivery

_ENDPOINTS = Statement(
    "read webhooks",
    """
    SELECT id, owner, types, collection_ids, created FROM webhook_endpoint
    WHERE owner = ANY($1::text[]) AND disabled_at IS NULL
    """,
)

# An endpoint that is being deleted is left out; one that is there stays until the commit. Places that are free are
# filled at once, the rest waits for its release with the number of the publish that it will be.
_INSERT = Statement(
    "insert webhook deliveries",
    f"""
    WITH asked AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::text[]) WITH ORDINALITY
            AS a(id, endpoint_id, owner, collection_id, event_id, event_type, payload, traceparent, job_id, position)
    ), there AS (
        SELECT id FROM webhook_endpoint WHERE id = ANY($2::text[]) ORDER BY id FOR KEY SHARE
    ), made AS (
        INSERT INTO webhook_delivery (id, endpoint_id, owner, event_id, event_type, payload)
        SELECT a.id, a.endpoint_id, a.owner, a.event_id, a.event_type, a.payload
        FROM asked a JOIN there ON there.id = a.endpoint_id ORDER BY a.id
        ON CONFLICT (id) DO NOTHING RETURNING id
    ), owners AS MATERIALIZED (
        SELECT o.owner, ({PUBLISHED.format(owner="o.owner", kinds="$10::text[]")}) AS published
        FROM (SELECT DISTINCT owner FROM asked) o
    ), placed AS (
        SELECT a.*, row_number() OVER (PARTITION BY a.owner ORDER BY a.position) + o.published <= $11::int AS released
        FROM asked a JOIN made ON made.id = a.id JOIN owners o ON o.owner = a.owner
    )
    INSERT INTO job AS j (id, kind, subject_id, collection_id, owner, wanted, status, lane, dispatch, due_at,
        traceparent)
    SELECT p.job_id, '{WEBHOOK_DELIVER.name}', p.id, p.collection_id, p.owner, 'present', 'PENDING', '{Lane.BULK.value}',
        CASE WHEN p.released THEN 1 ELSE -1 END,
        clock_timestamp() + CASE WHEN p.released THEN $12::interval ELSE interval '0' END, p.traceparent
    FROM placed p
    RETURNING {columns_of("j")}
    """,
)


async def endpoints_of(conn: Connection, owners: Sequence[str]) -> list[Subscribed]:
    """Those that take events now."""
    return [Subscribed(**dict(row)) for row in await _ENDPOINTS.fetch(conn, list(owners))]


async def insert(
    conn: Connection, deliveries: Sequence[NewDelivery], *, in_flight_per_owner: int, first_due: timedelta
) -> list[JobRow]:
    """Jobs of those that are new; what has a place is to be published after the commit."""
    rows = await _INSERT.fetch(
        conn,
        *columns(deliveries, "id", "endpoint_id", "owner", "collection_id"),
        *columns(deliveries, "event_id", "event_type", "payload", "traceparent"),
        [str(ids.new_job_id()) for _ in deliveries],
        kinds_in(WEBHOOKS),
        in_flight_per_owner,
        first_due,
    )
    return [JobRow(*row) for row in rows]


async def want_again(
    conn: Connection, deliveries: Sequence[str], owner: str, *, first_due: timedelta, at_once: bool
) -> list[JobRow]:
    """The next generation of deliveries that are settled or wait, each under its old id. Not ``at_once``: they wait for
    their owner's places like any others. Their rows are the caller's to mark as pending.
    """
    wishes = [transitions.Wish(WEBHOOK_DELIVER.name, it, owner, dispatch=1 if at_once else -1) for it in deliveries]
    made = await transitions.want(conn, WEBHOOK_DELIVER, wishes, first_due=first_due)
    return [row for row, _ in made]
