"""SQL of documents; every statement names the owner, or who may read in their place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_api.access.conditions import PUBLISHED_THERE, SUBSCRIBED
from aperag_api.kernel.reading import containing
from aperag_api.knowledge.documents.schemas import ListedStatus
from aperag_work.document_rows import STEP_OF

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page, SortOrder
    from aperag_api.knowledge.documents.schemas import DocumentSort


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """``steps`` maps a kind to ``{"status", "updated", "workflow_id", "error_code", "error_message"}``; a kind without
    a job, or whose removal is complete, is absent.
    """

    id: str
    collection_id: str
    name: str
    status: str
    size: int
    sha256: str
    object_path: str
    created: datetime
    updated: datetime
    deleted: bool
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)


_STEP = STEP_OF.format(kind="j.kind")
_SELECT = f"""
    SELECT d.id, d.collection_id, d.name, d.status, d.size, d.sha256, d.object_path, d.created, d.updated,
        d.deleted_at IS NOT NULL AS deleted, coalesce(d.details -> 'metadata', '{{}}') AS metadata,
        coalesce((SELECT p.data -> 'warnings' FROM document_index p WHERE p.document_id = d.id AND p.kind = 'parse'),
            '[]') AS warnings,
        (SELECT coalesce(jsonb_object_agg({_STEP}, jsonb_build_object(
            'status', j.status, 'updated', j.updated, 'workflow_id', j.workflow_id,
            'error_code', j.error_code, 'error_message', j.error_message)), '{{}}')
         FROM job j WHERE j.subject_id = d.id AND j.status <> 'DELETED') AS steps
    FROM document d
"""
_OWN = "d.collection_id = :collection AND d.owner = :owner"
_SHARED = "d.deleted_at IS NULL AND d.status NOT IN ('UPLOADED', 'EXPIRED')"
"""What others may see of a published collection: no more than its list shows."""
_SUBSCRIBED = f"{_SHARED} AND {SUBSCRIBED.format(collection='d.collection_id', user=':user')}"
_PUBLISHED = f"{_SHARED} AND {PUBLISHED_THERE.format(collection='d.collection_id')}"
_LISTED = f"""
    WHERE {_OWN} AND {_SHARED}
        AND (CAST(:pattern AS text) IS NULL OR d.name ILIKE :pattern)
"""
_GET = text(f"{_SELECT} WHERE {_OWN} AND d.id = :id")
_ONE = f"{_SELECT} WHERE d.collection_id = :collection AND d.id = :id"
_GET_READABLE = text(f"{_ONE} AND (d.owner = :user OR ({_SUBSCRIBED}))")
_GET_PUBLISHED = text(f"{_ONE} AND {_PUBLISHED}")
_OF_CHAT = text(f"{_SELECT} WHERE {_OWN} AND d.chat_id = :chat AND {_SHARED} ORDER BY d.created, d.id LIMIT :limit")
_IN_CHAT = text(f"{_SELECT} WHERE {_OWN} AND d.chat_id = :chat AND d.id = :id")
_MANY = text(f"{_SELECT} WHERE {_OWN} AND d.id = ANY(:ids)")
_COUNTS = text(f"SELECT d.status, count(*) AS documents FROM document d {_LISTED} GROUP BY d.status")
_IN_STATUS = "(CAST(:statuses AS text[]) IS NULL OR d.status = ANY(CAST(:statuses AS text[])))"
_OWN_IDS = text(f"SELECT d.id FROM document d WHERE {_OWN} AND d.id = ANY(:ids) ORDER BY d.id")
_FAILED = text(
    f"""
    SELECT d.id, array_agg({_STEP} ORDER BY j.kind) AS kinds
    FROM document d JOIN job j ON j.subject_id = d.id
    WHERE d.collection_id = :collection AND d.owner = :owner AND d.deleted_at IS NULL AND j.status = 'FAILED'
    GROUP BY d.id ORDER BY d.id
    """
)


async def get(conn: AsyncConnection, collection_id: str, document_id: str, owner: str) -> DocumentRow | None:
    """The row in whatever status, deleted ones included."""
    values = {"collection": collection_id, "id": document_id, "owner": owner}
    row = (await conn.execute(_GET, values)).one_or_none()
    return None if row is None else DocumentRow(**row._mapping)


async def get_readable(conn: AsyncConnection, collection_id: str, document_id: str, user_id: str) -> DocumentRow | None:
    """As ``get``, for the owner and for whoever has subscribed to the published collection."""
    values = {"collection": collection_id, "id": document_id, "user": user_id}
    row = (await conn.execute(_GET_READABLE, values)).one_or_none()
    return None if row is None else DocumentRow(**row._mapping)


async def get_published(conn: AsyncConnection, collection_id: str, document_id: str) -> DocumentRow | None:
    """As ``get_readable``, for everybody, while the collection is published."""
    row = (await conn.execute(_GET_PUBLISHED, {"collection": collection_id, "id": document_id})).one_or_none()
    return None if row is None else DocumentRow(**row._mapping)


async def get_many(
    conn: AsyncConnection, collection_id: str, document_ids: Sequence[str], owner: str
) -> dict[str, DocumentRow]:
    values = {"collection": collection_id, "ids": list(document_ids), "owner": owner}
    return {row.id: DocumentRow(**row._mapping) for row in await conn.execute(_MANY, values)}


async def of_chat(
    conn: AsyncConnection, collection_id: str, chat_id: str, owner: str, *, limit: int
) -> list[DocumentRow]:
    """The oldest ``limit`` that live."""
    values = {"collection": collection_id, "chat": chat_id, "owner": owner, "limit": limit}
    return [DocumentRow(**row._mapping) for row in await conn.execute(_OF_CHAT, values)]


async def in_chat(
    conn: AsyncConnection, collection_id: str, chat_id: str, document_id: str, owner: str
) -> DocumentRow | None:
    """As ``get``, of one chat's files."""
    values = {"collection": collection_id, "chat": chat_id, "id": document_id, "owner": owner}
    row = (await conn.execute(_IN_CHAT, values)).one_or_none()
    return None if row is None else DocumentRow(**row._mapping)


async def list_page(
    conn: AsyncConnection,
    collection_id: str,
    owner: str,
    *,
    search: str | None,
    statuses: Sequence[ListedStatus],
    sort: DocumentSort,
    order: SortOrder,
    page: Page,
) -> tuple[list[DocumentRow], dict[ListedStatus, int]]:
    """One page of those in ``statuses``, or in any, and how many there are in each; hides deleted, unconfirmed and
    expired documents.
    """
    pattern = containing(search) if search else None
    values: dict[str, Any] = {"collection": collection_id, "owner": owner, "pattern": pattern}
    counted = {row.status: row.documents for row in await conn.execute(_COUNTS, values)}
    values["statuses"] = [it.value for it in statuses] or None
    # Both words come from enums, never from the request's own text.
    query = f"{_SELECT} {_LISTED} AND {_IN_STATUS} ORDER BY d.{sort.value} {order.value}, d.id {order.value} LIMIT :limit OFFSET :offset"
    rows = await conn.execute(text(query), {**values, **page.bounds})
    return [DocumentRow(**row._mapping) for row in rows], {it: counted.get(it.value, 0) for it in ListedStatus}


async def own_ids(conn: AsyncConnection, collection_id: str, document_ids: Sequence[str], owner: str) -> list[str]:
    """Those of ``document_ids`` that are the owner's, in lock order."""
    values = {"collection": collection_id, "ids": list(document_ids), "owner": owner}
    return list((await conn.execute(_OWN_IDS, values)).scalars())


async def failed_kinds(conn: AsyncConnection, collection_id: str, owner: str) -> dict[str, list[str]]:
    """The failed steps of each living document that has some."""
    rows = await conn.execute(_FAILED, {"collection": collection_id, "owner": owner})
    return {row.id: list(row.kinds) for row in rows}
