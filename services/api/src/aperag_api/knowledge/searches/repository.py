"""SQL of the search history, and of what a search waits for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL
from aperag_work.document_rows import STEP_OF

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

HISTORY = 200
"""Searches of one user that a collection remembers, the newest: each carries its items, and the contract's list has no pages."""
MOST_LISTED = 4 * 1024 * 1024
"""Bytes of items, as they are stored; searches before these are listed without."""


@dataclass(frozen=True, slots=True)
class SavedSearch:
    id: str
    request: dict[str, Any]
    items: dict[str, Any]
    created: datetime


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether one awaited document or task still has ``pending`` work, and whether searches ``served`` see it."""

    id: str
    document_id: str
    pending: bool
    served: bool


_INSERT = text(
    """
    INSERT INTO search_history (id, owner, collection_id, query, request, items)
    SELECT :id, id, :collection, :query, CAST(:request AS jsonb), CAST(:items AS jsonb)
    FROM users WHERE id = :owner AND is_active
    RETURNING created
    """
)
_LIST = text(
    """
    WITH newest AS MATERIALIZED (
        SELECT id, request, created, pg_column_size(items) AS size FROM search_history
        WHERE collection_id = :collection AND owner = :owner ORDER BY created DESC, id LIMIT :limit
    ), listed AS (SELECT *, sum(size) OVER (ORDER BY created DESC, id) <= :most AS whole FROM newest)
    SELECT l.id, l.request, CASE WHEN l.whole THEN h.items ELSE '{"items": []}' END AS items, l.created
    FROM listed l LEFT JOIN search_history h ON h.id = l.id AND l.whole ORDER BY l.created DESC, l.id
    """
)
_FORGET = text(
    """
    DELETE FROM search_history WHERE id IN (
        SELECT id FROM search_history WHERE collection_id = :collection AND owner = :owner
        ORDER BY created DESC, id OFFSET :kept)
    """
)
_DELETE = text(
    "DELETE FROM search_history WHERE id = :id AND collection_id = :collection AND owner = :owner RETURNING id"
)
_READINESS = text(
    f"""
    SELECT d.id, d.id AS document_id,
        coalesce(bool_or(j.status IN {OPEN_SQL}), false) AS pending,
        d.status NOT IN ('UPLOADED', 'EXPIRED') AND coalesce(bool_and(j.status = 'ACTIVE'), true) AS served
    FROM document d LEFT JOIN job j ON j.subject_id = d.id AND {STEP_OF.format(kind="j.kind")} = ANY(:kinds)
    WHERE d.id = ANY(:ids) AND d.collection_id = :collection AND d.owner = :owner AND d.deleted_at IS NULL
    GROUP BY d.id
    UNION ALL
    SELECT w.id, w.document_id,
        coalesce(bool_or(s.outcome = 'open'), false), coalesce(bool_and(s.outcome = 'done'), true)
    FROM workflow w LEFT JOIN workflow_step s ON s.workflow_id = w.id AND s.kind = ANY(:kinds)
    WHERE w.id = ANY(:ids) AND w.collection_id = :collection AND w.owner = :owner
    GROUP BY w.id
    """
)
_DEFAULT_MODEL = text("SELECT provider_name || '/' || model FROM default_model WHERE scenario = :scenario")


async def default_model(conn: AsyncConnection, scenario: str) -> str | None:
    """The id of what the installation uses where nobody has chosen."""
    found: str | None = (await conn.execute(_DEFAULT_MODEL, {"scenario": scenario})).scalar_one_or_none()
    return found


async def insert(
    conn: AsyncConnection,
    *,
    search_id: str,
    owner: str,
    collection_id: str,
    query: str,
    request: dict[str, Any],
    items: list[dict[str, Any]],
) -> datetime | None:
    """None of a user who was deleted while this was searched."""
    values = {
        "id": search_id,
        "owner": owner,
        "collection": collection_id,
        "query": query,
        "request": json.dumps(request),
        "items": json.dumps({"items": items}),
    }
    created: datetime | None = (await conn.execute(_INSERT, values)).scalar_one_or_none()
    await conn.execute(_FORGET, {"collection": collection_id, "owner": owner, "kept": HISTORY})
    return created


async def list_own(conn: AsyncConnection, collection_id: str, owner: str) -> list[SavedSearch]:
    values = {"collection": collection_id, "owner": owner, "limit": HISTORY, "most": MOST_LISTED}
    rows = await conn.execute(_LIST, values)
    return [SavedSearch(**row._mapping) for row in rows]


async def delete(conn: AsyncConnection, collection_id: str, search_id: str, owner: str) -> bool:
    values = {"id": search_id, "collection": collection_id, "owner": owner}
    return (await conn.execute(_DELETE, values)).one_or_none() is not None


async def readiness(
    conn: AsyncConnection, collection_id: str, owner: str, awaited: Sequence[str], kinds: Sequence[str]
) -> list[Readiness]:
    """Of those of ``awaited`` that are the owner's; a kind without a job is not waited for."""
    values = {"ids": list(awaited), "kinds": list(kinds), "collection": collection_id, "owner": owner}
    return [Readiness(**row._mapping) for row in await conn.execute(_READINESS, values)]
