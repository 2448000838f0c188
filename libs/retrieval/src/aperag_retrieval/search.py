"""A search: the legs that were asked for in parallel, fused where there are two, and only what is true now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog
from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncEngine

from aperag_common import errors
from aperag_common.db.models import Chunk, Collection, CollectionStatus, Document
from aperag_common.db.session import autocommit
from aperag_retrieval.analysis import analyzer_for
from aperag_retrieval.dense import PgVectorIndex, tune_connections
from aperag_retrieval.embedding import Embedders
from aperag_retrieval.fusion import LegShare, fuse, names_exactly
from aperag_retrieval.lexical import PgFulltextIndex, query_terms
from aperag_retrieval.local import MODELS
from aperag_retrieval.ports import Candidate, FulltextIndex, TermQuery, Vector, VectorIndex, VectorQuery
from aperag_retrieval.ranking import Ranked, RecallType, Scored, alone, distinct, fused_hit
from aperag_retrieval.scripts import CollectionScripts, is_foreign, is_mixed, script_of, written_in_others
from aperag_retrieval.snippets import Snippet, snippet
from aperag_retrieval.traits import traits_of

MOST_SNIPPETS = 50
"""More hits than people look at; programs ask for more."""
log = structlog.get_logger(__name__)
T = TypeVar("T")

FUSED_DEPTH = 100
"""How many candidates of each leg are fused."""
ENCODING_SECONDS = 10.0
"""A provider may be slower, or ask for patience: whoever searches is told what words alone find."""
REPEATS = 20
"""How many candidates beyond ``topk`` are read, for some may repeat another's text."""

_HITS = (
    select(Chunk.id, Chunk.text, Chunk.details, Document.name)
    .join(Document, Document.id == Chunk.document_id)
    .join(Collection, Collection.id == Document.collection_id)
    .where(
        Chunk.id == bindparam("chunk_ids", type_=ARRAY(Chunk.id.type)).any_(),
        Document.deleted_at.is_(None),
        Collection.status == CollectionStatus.ACTIVE,
    )
)


@dataclass(frozen=True)
class LegRequest:
    """``similarity`` is the least one of a vector hit; ``keywords`` replace the query in the full-text leg."""

    topk: int
    similarity: float | None = None
    keywords: tuple[str, ...] | None = None


@dataclass(frozen=True)
class SearchRequest:
    """``owner`` is the collection's: its encoder is used as they may use it.

    ``at_least`` so many hits are given, where there are, though fewer were asked for: somebody reads them again.
    ``chat_id``: only the files of this chat; None: all others. ``asker``, or else the owner, shares the local encoder.
    """

    collection_id: str
    owner: str
    query: str
    vector: LegRequest | None = None
    fulltext: LegRequest | None = None
    at_least: int = 0
    chat_id: str | None = None
    asker: str = ""

    @property
    def words(self) -> str:
        keywords = self.fulltext.keywords if self.fulltext else None
        return " ".join(keywords) if keywords else self.query

    @property
    def wanted(self) -> int:
        """Hits that were asked for: the sum of the legs'."""
        return sum(leg.topk for leg in (self.vector, self.fulltext) if leg is not None)


@dataclass(frozen=True)
class Hit:
    """``score`` lies in 0..1: the similarity of the vector leg alone, the share of the most that BM25 could give for the
    full-text leg alone, else the weighted sum of both, each scaled over the candidates.

    ``recall_type`` is the leg that gave more of it, ``legs`` say how much. ``snippet`` is there for the first hits.
    """

    chunk_id: str
    document_id: str
    document_name: str
    text: str
    score: float
    recall_type: RecallType
    details: dict[str, Any]
    legs: tuple[LegShare, ...] = ()
    snippet: Snippet | None = None


@dataclass(frozen=True)
class SearchOutcome:
    """``errors`` says by recall type why a leg gave nothing."""

    items: list[Hit]
    errors: dict[str, str] = field(default_factory=dict)


class Searcher:
    """One per process: it remembers statistics of collections. Make it before ``engine`` is used.

    A query that a provider takes longer than ``encoding_seconds`` to embed is not searched by meaning.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        embedders: Embedders,
        *,
        vectors: VectorIndex | None = None,
        fulltext: FulltextIndex | None = None,
        encoding_seconds: float = ENCODING_SECONDS,
    ) -> None:
        tune_connections(engine)
        self._engine = engine
        self._embedders = embedders
        self._vectors = vectors or PgVectorIndex()
        self._fulltext = fulltext or PgFulltextIndex()
        self._scripts = CollectionScripts()
        self._encoding_seconds = encoding_seconds

    async def search(self, request: SearchRequest, *, analyzer: str, model: str) -> SearchOutcome:
        failed: dict[str, str] = {}
        dense, lexical = await asyncio.gather(
            _leg(RecallType.VECTOR, self._dense(request, model), failed),
            _leg(RecallType.FULLTEXT, self._lexical(request, analyzer), failed),
        )
        if dense is not None and lexical is not None:
            ranked = await self._fused(request, dense, lexical, failed)
        elif dense is not None:
            ranked = alone(RecallType.VECTOR, dense[1])
        elif lexical is not None:
            ranked = alone(RecallType.FULLTEXT, lexical[1])
        else:
            ranked = []
        wanted = max(request.wanted, request.at_least)
        hits = await self._read(distinct(ranked, wanted))
        return SearchOutcome(_with_snippets(hits, request, analyzer), failed)

    async def _dense(self, request: SearchRequest, model: str) -> tuple[VectorQuery, list[Candidate]] | None:
        leg = request.vector
        if leg is None:
            return None
        query = VectorQuery(request.collection_id, model, await self._encoded(request, model), request.chat_id)
        async with autocommit(self._engine) as conn:
            found = await self._vectors.search(conn, query, _depth(leg, request))
        similarity = traits_of(model).similarity
        similar = [replace(candidate, score=similarity(candidate.score)) for candidate in found]
        return query, [it for it in similar if leg.similarity is None or it.score >= leg.similarity]

    async def _encoded(self, request: SearchRequest, model: str) -> Vector:
        try:
            async with asyncio.timeout(None if model in MODELS else self._encoding_seconds):
                user = (request.asker or request.owner) if model in MODELS else request.owner
                embedder = await self._embedders.embedder(user, model)
                row: Vector = (await embedder.embed([request.query], as_queries=True))[0]
                return row
        except TimeoutError as err:
            message = f"The embedding model {model} did not answer within {self._encoding_seconds:g} s"
            raise errors.Busy(message) from err

    async def _lexical(self, request: SearchRequest, analyzer: str) -> tuple[TermQuery, list[Candidate]] | None:
        leg = request.fulltext
        if leg is None:
            return None
        query = TermQuery(request.collection_id, query_terms(analyzer_for(analyzer), request.words), request.chat_id)
        async with autocommit(self._engine) as conn:
            return query, await self._fulltext.search(conn, query, _depth(leg, request))

    async def _fused(
        self,
        request: SearchRequest,
        dense: tuple[VectorQuery, list[Candidate]],
        lexical: tuple[TermQuery, list[Candidate]],
        failed: dict[str, str],
    ) -> list[Ranked]:
        found = {candidate.chunk_id: candidate for candidate in (*dense[1], *lexical[1])}
        dense_scores = {candidate.chunk_id: candidate.score for candidate in dense[1]}
        lexical_scores = {candidate.chunk_id: candidate.score for candidate in lexical[1]}
        more_dense, more_lexical, (weight, unmatchable) = await asyncio.gather(
            _leg(RecallType.VECTOR, self._dense_scores(dense[0], found.keys() - dense_scores.keys()), failed),
            _leg(RecallType.FULLTEXT, self._lexical_scores(lexical[0], found.keys() - lexical_scores.keys()), failed),
            self._weight(request, dense[0].model, lexical[1], found),
        )
        by_meaning = Scored(dense[1], dense_scores | (more_dense or {}))
        by_words = Scored(lexical[1], lexical_scores | (more_lexical or {}))
        fused = fuse(by_meaning.scores, by_words.scores, weight, unmatchable)
        return [fused_hit(item, found[item.chunk_id], by_meaning, by_words) for item in fused]

    async def _dense_scores(self, query: VectorQuery, chunk_ids: Iterable[str]) -> dict[str, float]:
        async with autocommit(self._engine) as conn:
            cosines = await self._vectors.scores(conn, query, wanted) if (wanted := list(chunk_ids)) else {}
        similarity = traits_of(query.model).similarity
        return {chunk_id: similarity(cosine) for chunk_id, cosine in cosines.items()}

    async def _lexical_scores(self, query: TermQuery, chunk_ids: Iterable[str]) -> dict[str, float]:
        async with autocommit(self._engine) as conn:
            return await self._fulltext.scores(conn, query, wanted) if (wanted := list(chunk_ids)) else {}

    async def _weight(
        self, request: SearchRequest, model: str, lexical: list[Candidate], found: Iterable[str]
    ) -> tuple[float, dict[str, float]]:
        """How much meaning counts, and what part of it for those ``found`` that the query's words cannot match."""
        script = script_of(request.query)
        async with autocommit(self._engine) as conn:
            shares = await self._scripts.shares(conn, request.collection_id)
            foreign = await written_in_others(conn, script, found) if is_mixed(shares) else frozenset()
        traits = traits_of(model)
        unmatchable = dict.fromkeys(foreign, traits.unmatchable)
        if lexical and names_exactly(request.query):
            return traits.dense_weight, unmatchable
        across = not lexical or is_foreign(script, shares)
        return traits.across_scripts if across else traits.dense_weight, unmatchable

    async def _read(self, ranked: list[Ranked]) -> list[Hit]:
        """The hits' texts; what was deleted since the legs ran is left out."""
        if not ranked:
            return []
        wanted = {"chunk_ids": [item.candidate.chunk_id for item in ranked]}
        async with autocommit(self._engine) as conn:
            rows = {row.id: row for row in (await conn.execute(_HITS, wanted)).all()}
        return [_hit(item, rows[item.candidate.chunk_id]) for item in ranked if item.candidate.chunk_id in rows]


async def _leg(name: RecallType, answer: Awaitable[T], failed: dict[str, str]) -> T | None:
    """The settle point of a leg: the other one's hits are worth more than none."""
    try:
        return await answer
    except errors.ApeRAGError as err:
        failed[name] = err.message
    except Exception:  # a leg that fails is named in the answer; the other one still answers
        log.exception("search.leg_failed", leg=name)
        failed[name] = "this index could not be searched"
    return None


def _depth(leg: LegRequest, request: SearchRequest) -> int:
    fused = request.vector is not None and request.fulltext is not None
    return max(FUSED_DEPTH if fused else 0, max(leg.topk, request.at_least) + REPEATS)


def _with_snippets(hits: list[Hit], request: SearchRequest, analyzer: str) -> list[Hit]:
    try:
        terms = analyzer_for(analyzer)
    except errors.Terminal:  # the full-text leg names it; meaning needs no analyzer
        return hits
    wanted = set(terms.terms(request.words))
    return [
        replace(hit, snippet=snippet(terms, hit.text, wanted)) if place < MOST_SNIPPETS else hit
        for place, hit in enumerate(hits)
    ]


def _hit(item: Ranked, row: Any) -> Hit:
    return Hit(
        chunk_id=item.candidate.chunk_id,
        document_id=item.candidate.document_id,
        document_name=row.name,
        text=row.text,
        score=min(1.0, max(0.0, float(item.score))),
        recall_type=item.recall_type,
        details=row.details,
        legs=item.legs,
    )
