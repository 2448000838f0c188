"""SQL of timelines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_api.timelines.facts import REMOVED, StepFacts, Turn
from aperag_common.db.models.base import OPEN_SQL
from aperag_common.work.presence import SEEN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

TASKS = 20
LETTERS = 50

_DOCUMENT = text(
    """
    SELECT id, collection_id, owner, name, status, deleted_at IS NOT NULL AS deleted, clock_timestamp() AS now
    FROM document WHERE id = :id AND collection_id = :collection AND (:any_owner OR owner = :owner)
    """
)

_STEPS = text(
    """
    SELECT s.id, s.kind, s.status, s.status IN ('DELETING', 'DELETION_IN_PROGRESS') AS removing, s.generation,
        s.dispatch, s.attempt, s.failures, nullif(s.due_at, 'infinity') AS due_at,
        s.lease_token IS NOT NULL AS leased, s.lease_until,
        CASE WHEN s.lease_token IS NOT NULL THEN s.updated END AS claimed_at, s.worker, w.created AS requested,
        s.started_at, s.settled_at, s.served_generation IS NOT NULL AS served, s.error_code, s.error_message,
        s.failed_attempts, s.traceparent
    FROM document_step s LEFT JOIN workflow w ON w.id = s.workflow_id
    WHERE s.document_id = :id ORDER BY s.kind <> 'parse', s.kind
    """
)

# A removal that ended takes its row along; the delete's task still says that it did.
_REMOVED = text(
    """
    SELECT f.kind, f.generation, f.finished AS settled_at, w.created AS requested, w.traceparent
    FROM workflow w JOIN workflow_step f ON f.workflow_id = w.id
    WHERE w.document_id = :id AND w.kind = 'delete' AND f.outcome = 'done'
        AND NOT EXISTS (SELECT FROM document_step s WHERE s.document_id = w.document_id AND s.kind = f.kind)
    ORDER BY f.kind <> 'parse', f.kind
    """
)

_WAITING = f"status IN {OPEN_SQL} AND dispatch = 0 AND due_at < 'infinity'"
"""As in the index of what waits for its release."""

# In the order of release; the recursion visits each waiting owner once instead of each waiting row.
_TURN = text(
    f"""
    WITH RECURSIVE waiting_owner AS (
        (SELECT owner FROM document_step WHERE {_WAITING} ORDER BY owner LIMIT 1)
        UNION ALL
        SELECT (SELECT owner FROM document_step WHERE {_WAITING} AND owner > w.owner ORDER BY owner LIMIT 1)
        FROM waiting_owner w WHERE w.owner IS NOT NULL
    ), own AS (
        SELECT id, row_number() OVER (ORDER BY lane DESC, created) AS position, count(*) OVER () AS waiting
        FROM document_step WHERE owner = :owner AND {_WAITING}
    )
    SELECT own.position, own.waiting,
        (SELECT count(DISTINCT document_id) FROM document_step
         WHERE owner = :owner AND status IN {OPEN_SQL} AND dispatch > 0) AS in_flight,
        (SELECT count(owner) FROM waiting_owner) AS owners
    FROM own WHERE own.id = :step
    """
)

_WORKERS = text(
    """
    SELECT service, consumers FROM service_instance
    WHERE seen > clock_timestamp() - make_interval(secs => :seconds)
    """
)

_TASKS = text(
    """
    SELECT id, kind, status, created, finished, traceparent FROM workflow
    WHERE document_id = :id ORDER BY created DESC, id LIMIT :limit
    """
)

_LETTERS = text(
    """
    SELECT id FROM dead_letter
    WHERE row_id IN (SELECT id FROM document_step WHERE document_id = :id) ORDER BY created DESC LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """``now`` is the database's clock at the reading."""

    id: str
    collection_id: str
    owner: str
    name: str
    status: str
    deleted: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Process:
    """One that was seen lately; ``consumers`` is a list of ``{name, slots, busy}``."""

    service: str
    consumers: list[dict[str, Any]]


async def document(
    conn: AsyncConnection, collection_id: str, document_id: str, owner: str, *, any_owner: bool
) -> DocumentRow | None:
    """In whatever status, deleted ones included as long as their row is there."""
    values = {"id": document_id, "collection": collection_id, "owner": owner, "any_owner": any_owner}
    row = (await conn.execute(_DOCUMENT, values)).one_or_none()
    return None if row is None else DocumentRow(**row._mapping)


async def steps(conn: AsyncConnection, found: DocumentRow) -> list[tuple[str | None, StepFacts]]:
    """(row, facts) of each step; the row is None where it went with what it stood for."""
    values = {"id": found.id}
    told: list[tuple[str | None, StepFacts]] = []
    for row in (await conn.execute(_STEPS, values)).mappings():
        known = dict(row)
        removing = known.pop("removing") or found.deleted
        told.append((known.pop("id"), StepFacts(now=found.now, removing=removing, **known)))
    if found.deleted:
        removed = (await conn.execute(_REMOVED, values)).mappings()
        told += [(None, StepFacts(status=REMOVED, now=found.now, removing=True, **row)) for row in removed]
    return told


async def turn(conn: AsyncConnection, owner: str, step_id: str, *, limit: int) -> Turn | None:
    """None where it was released meanwhile."""
    row = (await conn.execute(_TURN, {"owner": owner, "step": step_id})).one_or_none()
    return None if row is None else Turn(row.position, row.waiting, row.in_flight, limit, row.owners)


async def processes(conn: AsyncConnection) -> list[Process]:
    return [Process(**row._mapping) for row in await conn.execute(_WORKERS, {"seconds": SEEN_SECONDS})]


async def tasks(conn: AsyncConnection, document_id: str) -> Sequence[dict[str, Any]]:
    """The newest ones, newest first."""
    rows = await conn.execute(_TASKS, {"id": document_id, "limit": TASKS})
    return [dict(row) for row in rows.mappings()]


async def dead_letters(conn: AsyncConnection, document_id: str) -> list[str]:
    """Ids, newest first."""
    return [str(id_) for id_ in (await conn.execute(_LETTERS, {"id": document_id, "limit": LETTERS})).scalars()]
