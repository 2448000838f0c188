"""SQL of a summary: what it is made of, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_indexer.summarizing.ports import DocumentExcerpt
from aperag_work.database import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_work.database import Connection

CHARACTERS = 4000
"""Of each chunk."""

# The description is only overwritten where nobody has changed the collection since this moment (contract 2).
_BEGIN = Statement(
    "begin a summary",
    """
    UPDATE collection_summary s SET collection_updated = c.updated FROM collection c
    WHERE c.id = s.id AND s.id = $1 RETURNING c.title
    """,
)

# Of n documents in the order of their names those at i * n / k: evenly, the first among them.
_EXCERPTS = Statement(
    "read excerpts",
    """
    WITH living AS (
        SELECT id, name, row_number() OVER (ORDER BY name, id) - 1 AS position, count(*) OVER () AS total
        FROM document WHERE collection_id = $1 AND status = 'COMPLETE' AND deleted_at IS NULL
    ), chosen AS (
        SELECT * FROM living WHERE total <= $2::int OR position * $2::int % total < $2::int
    )
    SELECT d.name, first.texts, first.titles
    FROM chosen d LEFT JOIN LATERAL (
        SELECT array_agg(left(c.text, $3::int) ORDER BY c.ordinal) AS texts,
            (array_agg(c.details -> 'titles' ORDER BY c.ordinal))[1] AS titles
        FROM (
            SELECT c.text, c.ordinal, c.details FROM chunk c
            JOIN document_index p ON p.document_id = c.document_id AND p.kind = 'parse'
                AND p.served_generation = c.generation
            WHERE c.document_id = d.id ORDER BY c.ordinal LIMIT $4::int
        ) AS c
    ) AS first ON true
    ORDER BY d.position
    """,
)

_LOCK = Statement(
    "lock collections", "SELECT id FROM collection WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE"
)

# An older text of ours goes where there is nothing to say any more; a person's own never does.
_WRITE = Statement(
    "write a summary",
    """
    WITH described AS (
        UPDATE collection c SET description = $2::text, updated = clock_timestamp() FROM collection_summary s
        WHERE c.id = $1 AND s.id = c.id AND c.status = 'ACTIVE' AND c.updated = s.collection_updated
            AND c.description <> $2::text AND ($2::text <> '' OR c.description = s.summary)
    )
    UPDATE collection_summary SET summary = nullif($2::text, ''), documents = $3::int, documents_hash = $4::text
    WHERE id = $1 RETURNING id
    """,
)


@dataclass(frozen=True, slots=True)
class Summary:
    """``hash`` stands for the documents that ``text`` was made of, of which there are so many."""

    collection_id: str
    text: str
    documents: int
    hash: str


async def begin(conn: Connection, collection_id: str) -> str:
    """The collection's title, its present version remembered; empty where it is gone."""
    return str(await _BEGIN.value(conn, collection_id) or "")


async def excerpts(conn: Connection, collection_id: str, *, most: int, chunks: int) -> tuple[DocumentExcerpt, ...]:
    rows = await _EXCERPTS.fetch(conn, collection_id, most, CHARACTERS, chunks)
    return tuple(DocumentExcerpt(row["name"], tuple(row["titles"] or ()), tuple(row["texts"] or ())) for row in rows)


async def lock(conn: Connection, collections: Sequence[str]) -> None:
    await _LOCK.fetch(conn, list(collections))


async def write(conn: Connection, summary: Summary) -> None:
    """The collections are locked."""
    await _WRITE.fetch(conn, summary.collection_id, summary.text, summary.documents, summary.hash)
