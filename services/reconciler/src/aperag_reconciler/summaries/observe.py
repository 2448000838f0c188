"""SQL of summaries: which collections want one, what theirs was made of, and what it would be made of now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_work.summaries import CONTENTS, EMPTY_HASH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_WANTED = """(c.status = 'ACTIVE' AND c.config @> '{"enable_summary": true}')"""

_PAGE = text(
    f"""
    SELECT c.id, {_WANTED} AS wanted, j.status, j.generation, s.documents_hash AS summarized,
        extract(epoch FROM clock_timestamp() - j.settled_at)::float AS settled_ago
    FROM collection c LEFT JOIN collection_summary s ON s.id = c.id
    LEFT JOIN job j ON j.subject_id = s.id AND j.kind = 'collection.summary'
    WHERE c.id > :after AND (s.id IS NOT NULL OR {_WANTED})
    ORDER BY c.id LIMIT :limit
    """
)

_CONTENTS = text(
    f"WITH contents AS ({CONTENTS.format(collections=':collections')}) SELECT collection_id, documents || '-' || hash AS hash FROM contents"
)

# Tombstones count: a delete is a change like any other.
_CHANGED = text(
    """
    SELECT collection_id, extract(epoch FROM clock_timestamp() - max(updated))::float AS ago
    FROM document WHERE collection_id = ANY(:collections) GROUP BY collection_id
    """
)


@dataclass(frozen=True, slots=True)
class Observed:
    """``status`` is None without a row; ``summarized`` and ``contents`` stand for documents, as they were and are.

    ``contents`` is None where the row is not settled, ``changed_ago`` where no change is left to be seen; seconds are
    the database's.
    """

    id: str
    wanted: bool
    status: str | None
    generation: int | None
    summarized: str | None
    settled_ago: float | None
    contents: str | None = None
    changed_ago: float | None = None


async def page(conn: AsyncConnection, *, after: str, limit: int) -> list[Observed]:
    """Collections that want a summary or have one, in the order of their ids."""
    rows = await conn.execute(_PAGE, {"after": after, "limit": limit})
    found = [Observed(**row._mapping) for row in rows]
    settled = [it.id for it in found if it.wanted and it.status in {"ACTIVE", "FAILED"}]
    contents = dict.fromkeys(settled, EMPTY_HASH) | await _contents(conn, settled)
    found = [replace(it, contents=contents.get(it.id)) for it in found]
    changed = await _changed(conn, [it.id for it in found if it.contents not in {None, it.summarized}])
    return [replace(it, changed_ago=changed.get(it.id)) for it in found]


async def _contents(conn: AsyncConnection, collections: Sequence[str]) -> dict[str, str]:
    rows = await conn.execute(_CONTENTS, {"collections": list(collections)}) if collections else ()
    return {row.collection_id: row.hash for row in rows}


async def _changed(conn: AsyncConnection, collections: Sequence[str]) -> dict[str, float]:
    """Only where something has: the documents are read once more for it."""
    rows = await conn.execute(_CHANGED, {"collections": list(collections)}) if collections else ()
    return {row.collection_id: row.ago for row in rows}
