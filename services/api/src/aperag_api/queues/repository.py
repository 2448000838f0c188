"""SQL of queues and workers; what is open is counted by ``aperag_common.work.backlog``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.queues.schemas import RunningOut, WorkerOut
from aperag_common.db.models.base import OPEN_SQL
from aperag_common.work.presence import SEEN_SECONDS

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

RUNNING = 200

# ``dispatch > 0`` names the index of released rows: those are few, however many wait.
_HELD = f"status IN {OPEN_SQL} AND dispatch > 0 AND lease_until > clock_timestamp()"

# ``updated`` is the claim's time as long as the lease lasts: renewals leave it as it is.
_RUNNING = text(
    f"""
    WITH held AS (
        SELECT CASE WHEN status IN ('DELETING', 'DELETION_IN_PROGRESS') THEN 'indexer-remove' ELSE 'indexer-' || kind END
            AS consumer, lease_owner AS worker, owner, collection_id, document_id, attempt, updated AS since
        FROM document_step WHERE {_HELD}
        UNION ALL
        SELECT 'reconciler-purge', lease_owner, owner, id, NULL, attempt, updated FROM collection_purge WHERE {_HELD}
        UNION ALL
        SELECT 'reconciler-user-purge', lease_owner, owner, NULL, NULL, attempt, updated FROM user_purge WHERE {_HELD}
        UNION ALL
        SELECT 'indexer-summarize', lease_owner, owner, id, NULL, attempt, updated
        FROM collection_summary WHERE {_HELD}
        UNION ALL
        SELECT 'agent-turn', lease_owner, owner, NULL, NULL, attempt, updated FROM turn WHERE {_HELD}
        ORDER BY since LIMIT :limit
    )
    SELECT held.*, document.name, extract(epoch FROM clock_timestamp() - held.since)::float AS seconds
    FROM held LEFT JOIN document ON document.id = held.document_id
    ORDER BY held.since
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
    rows = await conn.execute(_RUNNING, {"limit": RUNNING})
    return [RunningOut(**row._mapping) for row in rows]


async def workers(conn: AsyncConnection) -> list[WorkerOut]:
    """Also those that are gone without a word and not forgotten yet."""
    rows = await conn.execute(_WORKERS, {"seconds": SEEN_SECONDS})
    return [WorkerOut(**row._mapping) for row in rows]
