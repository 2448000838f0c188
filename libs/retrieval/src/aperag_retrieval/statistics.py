"""What BM25 asks of a whole collection: how many chunks, how long, and how many hold a term.

Read, never kept in a row that writers would have to wait for. Remembered for a time that grows with the
collection: exact while it is small, a minute behind where a minute changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Integer

LONGEST_MEMORY = 60.0
CHUNKS_PER_SECOND = 1000
"""A collection of this many chunks is remembered for a second, one of twice as many for two."""
MOST_COLLECTIONS = 1000
# Until a collection knows better: a full chunk has about 200 terms, and counts for as much as this many chunks.
PRIOR_LENGTH, PRIOR_CHUNKS = 200.0, 5

_TOTALS = text("SELECT count(*), coalesce(sum(length), 0) FROM chunk_term WHERE collection_id = :collection_id")
_FREQUENCIES = text("""
    SELECT t.term, (SELECT count(*) FROM chunk_term c
                    WHERE c.collection_id = :collection_id AND c.terms @> ARRAY[t.term])
    FROM unnest(:terms) t(term)
""").bindparams(bindparam("terms", type_=ARRAY(Integer)))


@dataclass
class _Known:
    chunks: int
    length: int
    until: float
    frequencies: dict[int, int] = field(default_factory=dict)


class CollectionStatistics:
    """One per process; a document counts from its commit, or from the end of what is remembered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def chunks(self, conn: AsyncConnection, collection_id: str) -> int:
        return (await self._totals(conn, collection_id)).chunks

    async def average_length(self, conn: AsyncConnection, collection_id: str) -> float:
        known = await self._totals(conn, collection_id)
        return (known.length + PRIOR_LENGTH * PRIOR_CHUNKS) / (known.chunks + PRIOR_CHUNKS)

    async def frequencies(self, conn: AsyncConnection, collection_id: str, terms: Iterable[int]) -> dict[int, int]:
        """In how many chunks each term stands."""
        wanted = list(terms)
        known = await self._totals(conn, collection_id)
        missing = [term for term in wanted if term not in known.frequencies]
        if missing:
            rows = await conn.execute(_FREQUENCIES, {"collection_id": collection_id, "terms": missing})
            known.frequencies.update((term, count) for term, count in rows.all())
        return {term: known.frequencies[term] for term in wanted}

    async def _totals(self, conn: AsyncConnection, collection_id: str) -> _Known:
        known = self._known.get(collection_id)
        now = self._clock()
        if known is not None and now < known.until:
            return known
        chunks, length = (await conn.execute(_TOTALS, {"collection_id": collection_id})).one()
        memory = 0.0 if chunks < CHUNKS_PER_SECOND else min(LONGEST_MEMORY, chunks / CHUNKS_PER_SECOND)
        known = _Known(chunks, length, now + memory)
        if len(self._known) >= MOST_COLLECTIONS:
            self._known.clear()
        self._known[collection_id] = known
        return known
