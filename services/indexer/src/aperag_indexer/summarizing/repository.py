"""SQL of a summary: what it is made of, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_indexer.summarizing.ports import DocumentExcerpt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncConnection

CHARACTERS = 4000
"""Of each chunk."""

# The description is only overwritten where nobody has changed the collection since this moment (contract 2).
_BEGIN = text(
    """
    UPDATE collection_summary s SET collection_updated = c.updated FROM collection c
    WHERE c.id = s.id AND s.id = :id AND s.generation = :generation AND s.lease_token = :token
    RETURNING c.title
    """
)

# Of n documents in the order of their names those at i * n / k: evenly, the first among them.
_EXCERPTS = text(
    """
    WITH living AS (
        SELECT id, name, row_number() OVER (ORDER BY name, id) - 1 AS position, count(*) OVER () AS total
        FROM document WHERE collection_id = :collection AND status = 'COMPLETE' AND deleted_at IS NULL
    ), chosen AS (
        SELECT * FROM living WHERE total <= :most OR position * :most % total < :most
    )
    SELECT d.name, first.texts, first.titles
    FROM chosen d LEFT JOIN LATERAL (
        SELECT array_agg(left(c.text, :characters) ORDER BY c.ordinal) AS texts,
            (array_agg(c.details -> 'titles' ORDER BY c.ordinal))[1] AS titles
        FROM (
            SELECT c.text, c.ordinal, c.details FROM chunk c
            JOIN document_step p ON p.document_id = c.document_id AND p.kind = 'parse'
                AND p.served_generation = c.generation
            WHERE c.document_id = d.id ORDER BY c.ordinal LIMIT :chunks
        ) AS c
    ) AS first ON true
    ORDER BY d.position
    """
)

_KEEP = text("SELECT 1 FROM collection WHERE id = :id FOR NO KEY UPDATE")

# An older text of ours goes where there is nothing to say any more; a person's own never does.
_DESCRIBE = text(
    """
    UPDATE collection c SET description = :text, updated = clock_timestamp() FROM collection_summary s
    WHERE c.id = :id AND s.id = c.id AND c.status = 'ACTIVE' AND c.updated = s.collection_updated
        AND c.description <> :text AND (:text <> '' OR c.description = s.summary)
    """
)

_WRITE = text(
    """
    UPDATE collection_summary SET summary = nullif(:text, ''), documents = :documents, documents_hash = :hash
    WHERE id = :id
    """
)


async def begin(conn: AsyncConnection, fence: Mapping[str, Any]) -> str | None:
    """The collection's title, its present version remembered; None where the claim has been lost."""
    found = (await conn.execute(_BEGIN, dict(fence))).one_or_none()
    return None if found is None else str(found.title)


async def excerpts(conn: AsyncConnection, collection_id: str, *, most: int, chunks: int) -> tuple[DocumentExcerpt, ...]:
    parameters = {"collection": collection_id, "most": most, "chunks": chunks, "characters": CHARACTERS}
    rows = await conn.execute(_EXCERPTS, parameters)
    return tuple(DocumentExcerpt(row.name, tuple(row.titles or ()), tuple(row.texts or ())) for row in rows)


async def write(conn: AsyncConnection, collection_id: str, summary: str, documents: int, hash_: str) -> None:
    """In the fenced finish; the collection is locked before the summary's row, as by everybody else."""
    await conn.execute(_KEEP, {"id": collection_id})
    await conn.execute(_DESCRIBE, {"id": collection_id, "text": summary})
    await conn.execute(_WRITE, {"id": collection_id, "text": summary, "documents": documents, "hash": hash_})
