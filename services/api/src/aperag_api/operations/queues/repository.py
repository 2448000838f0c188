"""SQL of queues and workers; what is open is counted by ``aperag_work.backlog``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.operations.queues.schemas import RunningOut, WorkerOut
from aperag_common.db.models.base import OPEN_SQL
from aperag_work.backlog import consumer_of
from aperag_work.heartbeat import SEEN_SECONDS

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

RUNNING = 200

# ``dispatch > 0`` names the index of published jobs: those are few, however many wait. ``updated`` is the claim's time
# as long as the lease lasts: renewals leave it as it is.
_RUNNING = text(
    f"""
    SELECT j.kind, j.wanted, j.lease_owner AS worker, j.owner, j.collection_id, d.id AS document_id, d.name, j.attempt,
        j.updated AS since, extract(epoch FROM clock_timestamp() - j.updated)::float AS seconds
    FROM job j LEFT JOIN document d ON d.id = j.subject_id
    WHERE j.status IN {OPEN_SQL} AND j.dispatch > 0 AND j.lease_until > clock_timestamp()
    ORDER BY j.updated LIMIT :limit
    """
)

_WORKERS = text(
    """
    SELECT service, instance, version, started, seen, consumers,
        seen > clock_timestamp() - make_interval(secs => :seconds) AS alive
    FROM service_instance ORDER BY service, instance
    """
)


async def now(conn: AsyncConnection) -> datetime:
    found: datetime = (await conn.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return found


async def running(conn: AsyncConnection) -> list[RunningOut]:
    """The longest-running first."""
    rows = (await conn.execute(_RUNNING, {"limit": RUNNING})).mappings()
    return [RunningOut(consumer=consumer_of(row["kind"], row["wanted"]), **row) for row in rows]


async def workers(conn: AsyncConnection) -> list[WorkerOut]:
    """Also those that are gone without a word and not forgotten yet."""
    rows = await conn.execute(_WORKERS, {"seconds": SEEN_SECONDS})
    return [WorkerOut(**row._mapping) for row in rows]
