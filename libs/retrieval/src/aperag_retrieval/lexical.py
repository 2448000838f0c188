"""The lexical leg in PostgreSQL: BM25 term weights as sparse vectors, idf in the query's."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from pgvector.sqlalchemy import SPARSEVEC
from sqlalchemy import ColumnElement, Float, Integer, Text, bindparam, cast, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from aperag_common.db.models import ChunkTerm
from aperag_common.db.models.chunk_term import TERM_SPACE
from aperag_common.jobs.steps import StepKind
from aperag_retrieval.analysis import Analyzer, analysed, term_id
from aperag_retrieval.ports import Candidate, IndexTarget, TermQuery, TermRow
from aperag_retrieval.served import SURPLUS, candidates, kept, removal_of_other_generations, served
from aperag_retrieval.statistics import CollectionStatistics
from aperag_work.database import Connection, Statement, driver

K1 = 1.2
B = 0.75
FULL_SCAN = 10_000
"""Chunks up to which every one is scored: exact, in a few milliseconds. Beyond, only those that hold one of the query's
rarer terms are, which misses some.
"""
RARE_SHARE = 0.02
LEAST_RARE_TERMS = 2
MOST_QUERY_TERMS = 256
REMEMBERED_QUERIES = 64

_WRITE = Statement(
    "write terms",
    """
    INSERT INTO chunk_term (chunk_id, generation, document_id, collection_id, length, terms, weights)
    SELECT r.chunk_id, r.generation, r.document_id, r.collection_id, r.length, r.terms::int[], r.weights::sparsevec
    FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[])
        r(chunk_id, generation, document_id, collection_id, length, terms, weights)
    ON CONFLICT (chunk_id, generation) DO UPDATE
    SET length = excluded.length, terms = excluded.terms, weights = excluded.weights RETURNING 1
    """,
)
_REMOVE = Statement("remove terms", "DELETE FROM chunk_term WHERE document_id = $1 RETURNING 1")

_REMOVE_STALE = removal_of_other_generations(ChunkTerm.__tablename__)

_query = cast(bindparam("weights", type_=Text), SPARSEVEC(TERM_SPACE))
_negative_score: ColumnElement[float] = type_coerce(ChunkTerm.weights.op("<#>")(_query), Float)
_FOUND = select(
    ChunkTerm.chunk_id,
    ChunkTerm.document_id,
    ChunkTerm.collection_id,
    ChunkTerm.generation,
    (-_negative_score).label("score"),
)
_BEST = (
    _FOUND.where(ChunkTerm.collection_id == bindparam("collection_id"))
    .order_by(_negative_score)
    .limit(bindparam("reach"))
)
_SCAN = served(_BEST.subquery("found"), StepKind.FULLTEXT)
_CHOOSE = served(
    _BEST.where(ChunkTerm.terms.overlap(bindparam("rare", type_=ARRAY(Integer)))).subquery("found"), StepKind.FULLTEXT
)
_SCORES = served(
    _FOUND.where(ChunkTerm.chunk_id == bindparam("chunk_ids", type_=ARRAY(ChunkTerm.chunk_id.type)).any_()).subquery(
        "found"
    ),
    StepKind.FULLTEXT,
)


@dataclass(frozen=True)
class Weighed:
    length: int
    weights: dict[int, float]


def weigh(analyzer: Analyzer, texts: Sequence[str], average_length: float) -> list[Weighed]:
    """The chunk's half of BM25, which needs nothing of the collection but its average length."""
    weighed: list[Weighed] = []
    for content in texts:
        words, variants = analysed(analyzer, content)
        damping = K1 * (1 - B + B * len(words) / average_length)
        counts = Counter(map(term_id, (*words, *variants)))
        weighed.append(Weighed(len(words), {term: n * (K1 + 1) / (n + damping) for term, n in counts.items()}))
    return weighed


def query_terms(analyzer: Analyzer, query: str) -> dict[int, int]:
    return dict(Counter(map(term_id, analyzer.terms(query))).most_common(MOST_QUERY_TERMS))


def inverse_frequency(chunks: int, frequency: int) -> float:
    """Lucene's; positive even for a term of every chunk. A lagging frequency may exceed a lagging total."""
    return log(1 + (max(chunks, frequency) - frequency + 0.5) / (frequency + 0.5))


class PgFulltextIndex:
    """Collections of up to FULL_SCAN chunks are read whole; of larger ones only chunks that hold one of the query's rarer terms."""

    def __init__(self, statistics: CollectionStatistics | None = None) -> None:
        self._statistics = statistics or CollectionStatistics()
        # A search asks for the scores of some chunks right after: of the same query, by the same statistics.
        self._weighed: OrderedDict[int, tuple[TermQuery, str]] = OrderedDict()

    async def average_length(self, conn: AsyncConnection, collection_id: str) -> float:
        return await self._statistics.average_length(conn, collection_id)

    async def write(self, conn: Connection | AsyncConnection, rows: Sequence[TermRow]) -> None:
        if not rows:
            return
        await _WRITE.fetch(
            await driver(conn),
            [row.chunk_id for row in rows],
            [row.target.generation for row in rows],
            [row.target.document_id for row in rows],
            [row.target.collection_id for row in rows],
            [row.length for row in rows],
            [f"{{{','.join(map(str, row.weights))}}}" for row in rows],
            [sparse_text(row.weights) for row in rows],
        )

    async def remove_stale(self, conn: Connection | AsyncConnection, targets: Sequence[IndexTarget]) -> None:
        await _REMOVE_STALE.fetch(await driver(conn), *kept(targets))

    async def remove(self, conn: Connection | AsyncConnection, document_id: str) -> None:
        await _REMOVE.fetch(await driver(conn), document_id)

    async def search(self, conn: AsyncConnection, query: TermQuery, limit: int) -> list[Candidate]:
        if not query.terms:
            return []
        chunks, frequencies = await self._statistics.frequencies(conn, query.collection_id, query.terms)
        parameters: dict[str, Any] = {
            "collection_id": query.collection_id,
            "chat_id": query.chat_id,
            "weights": self._remember(query, _query_weights(query, chunks, frequencies)),
            "reach": limit + SURPLUS,
        }
        statement = _SCAN
        if chunks > FULL_SCAN:
            statement = _CHOOSE
            parameters["rare"] = rare_terms(frequencies, chunks, at_least=limit)
        found, seen = await candidates(conn, statement, parameters)
        if len(found) < limit and seen == limit + SURPLUS:
            found, _ = await candidates(conn, statement, {**parameters, "reach": None})
        return [candidate for candidate in found[:limit] if candidate.score > 0]

    async def scores(self, conn: AsyncConnection, query: TermQuery, chunk_ids: Sequence[str]) -> dict[str, float]:
        if not query.terms:
            return {}
        _, weights = self._weighed.pop(id(query), (query, ""))
        if not weights:
            chunks, frequencies = await self._statistics.frequencies(conn, query.collection_id, query.terms)
            weights = _query_weights(query, chunks, frequencies)
        parameters = {"chunk_ids": list(chunk_ids), "chat_id": query.chat_id, "weights": weights}
        found, _ = await candidates(conn, _SCORES, parameters)
        return {candidate.chunk_id: candidate.score for candidate in found}

    def _remember(self, query: TermQuery, weights: str) -> str:
        """Under the query's identity, which is its own for as long as it is held here."""
        if len(self._weighed) >= REMEMBERED_QUERIES:
            self._weighed.popitem(last=False)
        self._weighed[id(query)] = query, weights
        return weights


def rare_terms(frequencies: Mapping[int, int], chunks: int, *, at_least: int) -> list[int]:
    """The terms that choose what is scored: all rare ones, two in any case, more until ``at_least`` chunks may hold one."""
    chosen: list[int] = []
    held = 0
    for term, frequency in sorted(frequencies.items(), key=lambda pair: pair[1]):
        if frequency > chunks * RARE_SHARE and len(chosen) >= LEAST_RARE_TERMS and held >= at_least:
            break
        chosen.append(term)
        held += frequency
    return chosen


def sparse_text(weights: Mapping[int, float]) -> str:
    """Pgvector's text form, which counts dimensions from 1."""
    return f"{{{','.join(f'{term + 1}:{weight:.6g}' for term, weight in weights.items())}}}/{TERM_SPACE}"


def _query_weights(query: TermQuery, chunks: int, frequencies: Mapping[int, int]) -> str:
    """Scaled so that a score is the share of the most that BM25 could give: a chunk of nothing but the query's terms."""
    weights = {term: count * inverse_frequency(chunks, frequencies[term]) for term, count in query.terms.items()}
    most = (K1 + 1) * sum(weights.values())
    return sparse_text({term: weight / most for term, weight in weights.items()})
