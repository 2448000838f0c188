"""SQL of dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from sqlalchemy import TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page
    from aperag_api.operations.dead_letters.decide import Cursor, Selection

_COLUMNS = """
    l.id, l.created, l.code, l.message, l.kind AS step, l.owner, l.collection_id, l.document_id,
    d.name AS document_name, l.attempt, l.failures, l.consumer, l.worker, l.redriven_at,
    l.redriven_workflow_id AS redriven_task_id
"""
_FILTERS = {
    "ids": "l.id = ANY(:ids)",
    "code": "l.code = :code",
    "step": "l.kind = :step",
    "owner": "l.owner = :owner",
    "collection_id": "l.collection_id = :collection_id",
    "document_id": "l.document_id = :document_id",
    "redriven": "(l.redriven_at IS NOT NULL) = :redriven",
    "since": "l.created >= :since",
    "until": "l.created < :until",
    "older_than": "l.created < clock_timestamp() - CAST(:older_than AS interval)",
}
_IDS = ARRAY(UUID(as_uuid=True))

_GET = text(
    f"""
    SELECT {_COLUMNS}, l.workflow_id AS task_id, l.row_id, l.generation, l.subject, l.payload, l.headers, l.traceparent,
        CASE WHEN d.id IS NOT NULL THEN jsonb_build_object(
            'id', d.id, 'name', d.name, 'status', d.status, 'deleted', d.deleted_at IS NOT NULL) END AS document,
        to_jsonb(j) - 'lease_token' AS row
    FROM dead_letter l
    LEFT JOIN document d ON d.id = l.document_id
    LEFT JOIN job j ON j.id = l.row_id
    WHERE l.id = :id
    """
)
_NOW = text("SELECT clock_timestamp()")


async def now(conn: AsyncConnection) -> datetime:
    """The clock that letters are dated by."""
    found: datetime = (await conn.execute(_NOW)).scalar_one()
    return found


async def list_page(conn: AsyncConnection, selection: Selection, *, page: Page) -> tuple[list[dict[str, Any]], int]:
    """Newest first, and the number of all."""
    where, values = _where(selection)
    total = await conn.execute(_text(f"SELECT count(*) FROM dead_letter l WHERE {where}", selection), values)
    query = f"""
        SELECT {_COLUMNS} FROM dead_letter l LEFT JOIN document d ON d.id = l.document_id
        WHERE {where} ORDER BY l.created DESC, l.id DESC LIMIT :limit OFFSET :offset
    """
    rows = await conn.execute(_text(query, selection), {**values, **page.bounds})
    return [dict(row) for row in rows.mappings()], int(total.scalar_one())


async def get(conn: AsyncConnection, letter_id: uuid.UUID) -> dict[str, Any] | None:
    row = (await conn.execute(_GET, {"id": letter_id})).mappings().one_or_none()
    return None if row is None else dict(row)


async def open_after(
    conn: AsyncConnection, selection: Selection, asked: datetime, after: Cursor | None, *, limit: int
) -> list[tuple[datetime, uuid.UUID]]:
    """(created, id) of letters that were not requeued yet, oldest first."""
    where, values = _where(selection)
    behind = "AND (l.created, l.id) > (:after_created, :after_id)" if after else ""
    if after:
        values |= {"after_created": after.created, "after_id": after.id}
    query = f"""
        SELECT l.created, l.id FROM dead_letter l
        WHERE {where} AND l.redriven_at IS NULL AND l.created <= :asked {behind}
        ORDER BY l.created, l.id LIMIT :limit
    """
    rows = await conn.execute(_text(query, selection), {**values, "asked": asked, "limit": limit})
    return [(row.created, row.id) for row in rows]


async def remove(conn: AsyncConnection, selection: Selection, asked: datetime, *, limit: int) -> int:
    """At most ``limit`` of them, the oldest first; locked in the order in which a requeue marks them."""
    where, values = _where(selection)
    query = f"""
        DELETE FROM dead_letter WHERE id IN (
            SELECT l.id FROM dead_letter l WHERE {where} AND l.created <= :asked
            ORDER BY l.created, l.id LIMIT :limit FOR UPDATE)
    """
    return (await conn.execute(_text(query, selection), {**values, "asked": asked, "limit": limit})).rowcount


def _where(selection: Selection) -> tuple[str, dict[str, Any]]:
    """Conditions are ours, values are bound."""
    given = {name: value for name in _FILTERS if (value := getattr(selection, name)) is not None}
    values = {name: list(value) if name == "ids" else value for name, value in given.items()}
    return " AND ".join(_FILTERS[name] for name in given) or "true", values


def _text(sql: str, selection: Selection) -> TextClause:
    query = text(sql)
    return query if selection.ids is None else query.bindparams(bindparam("ids", type_=_IDS))
