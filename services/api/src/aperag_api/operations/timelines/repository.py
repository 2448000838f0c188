"""SQL of timelines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_api.operations.timelines.facts import REMOVED, StepFacts, Turn
from aperag_common.jobs.declared import DOCUMENTS
from aperag_common.jobs.kind import kinds_in
from aperag_work.accepting import IN_FLIGHT
from aperag_work.document_rows import STEP_OF
from aperag_work.heartbeat import SEEN_SECONDS
from aperag_work.release import UNRELEASED

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
    f"""
    SELECT j.id, {STEP_OF.format(kind="j.kind")} AS kind,
        CASE j.status WHEN 'DELETED' THEN '{REMOVED}' ELSE j.status END AS status, j.wanted = 'absent' AS removing,
        j.generation, j.dispatch, j.attempt, j.failures, nullif(j.due_at, 'infinity') AS due_at,
        j.lease_token IS NOT NULL AS leased, j.lease_until,
        CASE WHEN j.lease_token IS NOT NULL THEN j.updated END AS claimed_at, j.worker, w.created AS requested,
        j.started_at, j.settled_at, i.document_id IS NOT NULL AS served, j.error_code, j.error_message,
        j.failed_attempts, j.traceparent
    FROM job j LEFT JOIN workflow w ON w.id = j.workflow_id
    LEFT JOIN document_index i ON i.document_id = j.subject_id AND i.kind = {STEP_OF.format(kind="j.kind")}
    WHERE j.subject_id = :id ORDER BY j.kind <> 'parse', j.kind
    """
)

_WAITING = f"{UNRELEASED} AND kind = 'parse'"
"""What waits for its release: of a document only the parse ever does."""

# In the order of release; the recursion visits each waiting owner once instead of each waiting job.
_TURN = text(
    f"""
    WITH RECURSIVE waiting_owner AS (
        (SELECT owner FROM job WHERE {_WAITING} ORDER BY owner LIMIT 1)
        UNION ALL
        SELECT (SELECT owner FROM job WHERE {_WAITING} AND owner > w.owner ORDER BY owner LIMIT 1)
        FROM waiting_owner w WHERE w.owner IS NOT NULL
    ), own AS (
        SELECT id, row_number() OVER (ORDER BY lane DESC, created) AS position, count(*) OVER () AS waiting
        FROM job WHERE owner = :owner AND {_WAITING}
    )
    SELECT own.position, own.waiting, ({IN_FLIGHT.format(owner=":owner", kinds=":kinds")}) AS in_flight,
        (SELECT count(owner) FROM waiting_owner) AS owners
    FROM own WHERE own.id = :job
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
    WHERE row_id IN (SELECT id FROM job WHERE subject_id = :id) ORDER BY created DESC LIMIT :limit
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


async def steps(conn: AsyncConnection, found: DocumentRow) -> list[tuple[str, StepFacts]]:
    """(job, facts) of each step."""
    rows = [dict(row) for row in (await conn.execute(_STEPS, {"id": found.id})).mappings()]
    return [(row.pop("id"), StepFacts(now=found.now, **row)) for row in rows]


async def turn(conn: AsyncConnection, owner: str, job_id: str, *, limit: int) -> Turn | None:
    """None where it was released meanwhile."""
    row = (await conn.execute(_TURN, {"owner": owner, "job": job_id, "kinds": kinds_in(DOCUMENTS)})).one_or_none()
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
