"""When a collection's summary is made anew: a row while the collection wants one, a generation per reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common.jobs.declared import COLLECTION_SUMMARY
from aperag_work import transitions
from aperag_work.database import Statement, driver
from aperag_work.rows import Dispatch
from aperag_work.transitions import Wish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.database import Connection


CONTENTS = """
    SELECT d.collection_id, count(*) AS documents,
        to_hex(bit_xor(hashtextextended(d.id || ' ' || d.sha256 || ' ' || coalesce(p.served_generation, 0), 0))) AS hash
    FROM document d LEFT JOIN document_index p ON p.document_id = d.id AND p.kind = 'parse'
    WHERE d.collection_id = ANY({collections}) AND d.status = 'COMPLETE' AND d.deleted_at IS NULL
    GROUP BY d.collection_id
"""
"""What a summary would be made of now: living documents by id, bytes and reading; in any order, so nothing is sorted."""

_HASH = Statement(
    "hash the documents of a collection",
    f"""
    WITH contents AS ({CONTENTS.format(collections="$1::text[]")})
    SELECT documents, documents || '-' || hash AS hash FROM contents
    """,
)
EMPTY_HASH = "0-0"

# The collection is held, so that it is neither deleted nor changed meanwhile; who is late finds the row.
_INSERT = Statement(
    "insert summaries",
    """
    INSERT INTO collection_summary (id, owner)
    SELECT id, owner FROM (
        SELECT id, owner FROM collection
        WHERE id = ANY($1::text[]) AND status = 'ACTIVE' AND config @> '{"enable_summary": true}'
        ORDER BY id FOR SHARE) AS wanted
    ON CONFLICT (id) DO NOTHING
    RETURNING id, owner
    """,
)
_OWNER = Statement("read a summary's owner", "SELECT owner FROM collection_summary WHERE id = $1")

# Whoever works on one finds its fence gone: the job goes with the row.
_REMOVE = Statement(
    "remove summaries",
    """
    DELETE FROM collection_summary s WHERE s.id = ANY($1::text[]) AND NOT EXISTS (
        SELECT 1 FROM collection c
        WHERE c.id = s.id AND c.status = 'ACTIVE' AND c.config @> '{"enable_summary": true}') RETURNING s.id
    """,
)


async def documents_hash(conn: AsyncConnection | Connection, collection_id: str) -> tuple[int, str]:
    """How many documents there are, and what stands for them."""
    found = await _HASH.row(await driver(conn), [collection_id])
    return (0, EMPTY_HASH) if found is None else (found["documents"], found["hash"])


async def add(
    conn: AsyncConnection | Connection, collections: Sequence[str], *, first_due: timedelta, source: str
) -> list[Dispatch]:
    """Rows of those that want a summary and have none yet; their commands are to be sent after the commit."""
    raw = await driver(conn)
    rows = await _INSERT.fetch(raw, list(collections))
    if not rows:
        return []
    wishes = [Wish(COLLECTION_SUMMARY.name, row["id"], row["owner"], row["id"]) for row in rows]
    made = await transitions.want(raw, COLLECTION_SUMMARY, wishes, first_due=first_due)
    return [Dispatch(row, source) for row, leased in made if not leased]


async def remove(conn: AsyncConnection | Connection, collections: Sequence[str]) -> int:
    """Rows of those that want none, with their jobs."""
    return await _REMOVE.count(await driver(conn), list(collections))


async def follow(
    conn: AsyncConnection | Connection, collection_id: str, *, first_due: timedelta, source: str
) -> tuple[Dispatch, ...]:
    """A person has made or changed the collection, or asks: its summary begins, begins anew, or goes.

    One that is being made is completed, and made once more: no command is needed for that.
    """
    raw = await driver(conn)
    await remove(raw, [collection_id])
    added = await add(raw, [collection_id], first_due=first_due, source=source)
    return tuple(added) or await renew(raw, collection_id, first_due=first_due, source=source)


async def renew(
    conn: AsyncConnection | Connection,
    collection_id: str,
    *,
    first_due: timedelta,
    source: str,
    among: Sequence[str] = transitions.ANY_STATUS,
    generation: int | None = None,
) -> tuple[Dispatch, ...]:
    """The next generation; empty without a row, or where an attempt under way will run again by itself."""
    raw = await driver(conn)
    owner = await _OWNER.value(raw, collection_id)
    if owner is None:
        return ()
    wish = Wish(COLLECTION_SUMMARY.name, collection_id, owner, collection_id)
    made = await transitions.want(
        raw, COLLECTION_SUMMARY, [wish], first_due=first_due, among=among, generation=generation
    )
    return tuple(Dispatch(row, source) for row, leased in made if not leased)
