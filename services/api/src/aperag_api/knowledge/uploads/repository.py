"""SQL of names that are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class NamedDocument:
    id: str
    name: str
    size: int
    sha256: str
    status: str


# In the order of the hashes, so that two batches with the same names cannot wait for each other.
_LOCK_NAMES = text(
    """
    SELECT pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended(concat_ws('/', CAST(:collection AS text), CAST(:chat AS text), name), 0) AS key
        FROM unnest(CAST(:names AS text[])) AS n(name) ORDER BY key
    ) AS keys
    """
)
_STAGED = text("SELECT count(*) FROM document WHERE owner = :owner AND status = 'UPLOADED' AND deleted_at IS NULL")
_NAMED = text(
    """
    SELECT id, name, size, sha256, status FROM document
    WHERE collection_id = :collection AND coalesce(chat_id, '') = coalesce(CAST(:chat AS text), '')
        AND name = ANY(:names) AND deleted_at IS NULL AND status <> 'EXPIRED'
    ORDER BY id FOR UPDATE
    """
)


async def staged(conn: AsyncConnection, owner: str) -> int:
    """Documents of the owner that wait to be confirmed."""
    return int((await conn.execute(_STAGED, {"owner": owner})).scalar_one())


async def lock_names(
    conn: AsyncConnection, collection_id: str, names: Sequence[str], chat_id: str | None = None
) -> dict[str, NamedDocument]:
    """The living documents of these names; until this transaction ends no other one can take or check them.

    Names are those of one chat, or of the collection's own documents.
    """
    values = {"collection": collection_id, "chat": chat_id, "names": list(names)}
    await conn.execute(_LOCK_NAMES, values)
    return {row.name: NamedDocument(**row._mapping) for row in await conn.execute(_NAMED, values)}
