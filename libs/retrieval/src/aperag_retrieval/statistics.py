"""What BM25 asks of a whole collection: how many chunks, how long, and how many hold a term.

Read, never kept in a row that writers would have to wait for. Exact while a collection is small. Of a larger one the
totals are remembered for a time that grows with it, and a term's frequency until the collection has changed enough to
matter: counting a common term reads most of the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Integer

SMALL_COLLECTION = 1_000
"""Chunks up to which a collection is read whole, by statistics and by searches."""
LONGEST_MEMORY = 60.0
CHUNKS_PER_SECOND = 1000
"""A collection of this many chunks is remembered for a second, one of twice as many for two."""
CHANGED = 0.05
"""Share of chunks that must have come or gone before frequencies are counted again."""
FREQUENCIES_MEMORY = 600.0
"""Seconds after which they are anyway: as many may have come as have gone."""
MOST_COLLECTIONS = 1000
# Until a collection knows better: a full chunk has about 200 terms, and counts for as much as this many chunks.
PRIOR_LENGTH, PRIOR_CHUNKS = 200.0, 5

_TOTALS_SQL = (
    "SELECT count(*) AS chunks, coalesce(sum(length), 0) AS length FROM chunk_term WHERE collection_id = :collection_id"
)
_TOTALS = text(_TOTALS_SQL)


def _with_terms(sql: str) -> TextClause:
    return text(sql).bindparams(bindparam("terms", type_=ARRAY(Integer)))


def _frequencies(terms: str) -> str:
    return f"""
        SELECT t.term, (SELECT count(*) FROM chunk_term c
                        WHERE c.collection_id = :collection_id AND {terms} @> ARRAY[t.term]) AS frequency
        FROM unnest(:terms) t(term)
    """


_COUNT_BY_TERM = _with_terms(_frequencies("c.terms"))
# The index over terms spans all collections; a small one is found by its own index, which an expression leaves as the
# only choice.
_BY_COLLECTION = _frequencies("(c.terms || '{}'::integer[])")
_COUNT_BY_COLLECTION = _with_terms(_BY_COLLECTION)
_ALL_OF_SMALL = _with_terms(f"""
    SELECT totals.chunks, totals.length, counted.term, counted.frequency
    FROM ({_TOTALS_SQL}) totals LEFT JOIN ({_BY_COLLECTION}) counted ON true
""")


@dataclass
class _Known:
    chunks: int
    length: int
    until: float
    counted_chunks: int
    """How many there were when ``frequencies`` was begun."""
    counted_until: float
    frequencies: dict[int, int] = field(default_factory=dict)

    def still_holds(self, chunks: int, now: float) -> bool:
        """Whether the frequencies are good enough for the collection as it is now."""
        return now < self.counted_until and abs(chunks - self.counted_chunks) <= CHANGED * self.counted_chunks


class CollectionStatistics:
    """One per process; a document counts from its commit, or from the end of what is remembered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def average_length(self, conn: AsyncConnection, collection_id: str) -> float:
        known = await self._totals(conn, collection_id)
        return (known.length + PRIOR_LENGTH * PRIOR_CHUNKS) / (known.chunks + PRIOR_CHUNKS)

    async def frequencies(
        self, conn: AsyncConnection, collection_id: str, terms: Iterable[int]
    ) -> tuple[int, dict[int, int]]:
        """How many chunks there are, and in how many of them each term stands."""
        wanted = list(terms)
        before = self._known.get(collection_id)
        if before is not None and before.chunks <= SMALL_COLLECTION:
            # What was small is read whole again, all of it at once; it may have outgrown that meanwhile.
            rows = (await conn.execute(_ALL_OF_SMALL, {"collection_id": collection_id, "terms": wanted})).all()
            self._keep(collection_id, rows[0].chunks, rows[0].length)
            counted = {row.term: row.frequency for row in rows if row.term is not None}
            return rows[0].chunks, counted
        known = await self._totals(conn, collection_id)
        missing = [term for term in wanted if term not in known.frequencies]
        if missing:
            count = _COUNT_BY_COLLECTION if known.chunks <= SMALL_COLLECTION else _COUNT_BY_TERM
            counts = await conn.execute(count, {"collection_id": collection_id, "terms": missing})
            known.frequencies.update((term, frequency) for term, frequency in counts.all())
        return known.chunks, {term: known.frequencies[term] for term in wanted}

    async def _totals(self, conn: AsyncConnection, collection_id: str) -> _Known:
        known = self._known.get(collection_id)
        now = self._clock()
        if known is not None and now < known.until:
            return known
        chunks, length = (await conn.execute(_TOTALS, {"collection_id": collection_id})).one()
        return self._keep(collection_id, chunks, length)

    def _keep(self, collection_id: str, chunks: int, length: int) -> _Known:
        known, now = self._known.get(collection_id), self._clock()
        if chunks <= SMALL_COLLECTION:
            fresh = _Known(chunks, length, now, chunks, now)
        else:
            fresh = _Known(chunks, length, now + min(LONGEST_MEMORY, chunks / CHUNKS_PER_SECOND), chunks, now)
            fresh.counted_until += FREQUENCIES_MEMORY
            if known is not None and known.still_holds(chunks, now):
                fresh.counted_chunks, fresh.counted_until = known.counted_chunks, known.counted_until
                fresh.frequencies = known.frequencies
        if len(self._known) >= MOST_COLLECTIONS:
            self._known.clear()
        self._known[collection_id] = fresh
        return fresh
