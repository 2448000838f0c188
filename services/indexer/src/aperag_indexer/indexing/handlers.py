"""Building indexes: from chunks to the rows that searches read."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from aperag_common.db.session import autocommit
from aperag_common.shares import Shares
from aperag_indexer.indexing.repository import StoredChunk, served_chunks
from aperag_indexer.parsing.repository import FIRST_GENERATION, remove_unused_chunks
from aperag_retrieval.analysis import analyzer_for
from aperag_retrieval.embedding import Embedders
from aperag_retrieval.lexical import weigh
from aperag_retrieval.ports import FulltextIndex, IndexTarget, TermRow, Vector, VectorIndex, VectorRow
from aperag_work.aggregate import Served
from aperag_work.completion import Completed, Completion
from aperag_work.database import Connection
from aperag_work.job import Job

Row = TypeVar("Row")

THREADS = 4
"""They share one interpreter; more would only wait for each other."""
CHUNKS_PER_TURN = 256


@dataclass(frozen=True, slots=True)
class _Built(Generic[Row]):
    """The rows of one document, and the generation of the parse that they are made from (0: it is gone)."""

    target: IndexTarget
    parsed: int
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A document's vectors of one model."""

    model: str
    rows: Sequence[VectorRow]


@dataclass(frozen=True, slots=True)
class BuildVectors:
    """Embeds chunks; a chunk whose text has been embedded before keeps its vector.

    While a collection changes its embedding model, the rows of both are made: what is served goes on being found by the
    one, and the other misses nothing when it takes over. What is served says which models its rows are of.
    """

    engine: AsyncEngine
    index: VectorIndex
    embedders: Embedders

    async def run(self, job: Job) -> Completion:
        target = _target(job)
        async with autocommit(self.engine) as conn:
            chunks = await served_chunks(conn, target.document_id)
        wanted = (job.subject.active_model, job.subject.wanted_model)
        models = list(dict.fromkeys(model for model in wanted if model is not None))
        built = _Built(target, _parsed(chunks), [await self._encoded(job, target, chunks, model) for model in models])
        written = sum(len(encoded.rows) for encoded in built.rows)
        data = {"chunks": written // len(models), "model": job.subject.active_model, "models": models}
        return Completion(built, written, Served(data=data))

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        built: list[_Built[_Encoded]] = [it.result for it in completed]
        by_model: dict[str, list[VectorRow]] = defaultdict(list)
        for encoded in (encoded for b in built for encoded in b.rows):
            by_model[encoded.model] += encoded.rows
        for model, rows in by_model.items():
            await self.index.write(conn, model, rows)
        await _remove_stale(conn, self.index, built)

    async def _encoded(self, job: Job, target: IndexTarget, chunks: Sequence[StoredChunk], model: str) -> _Encoded:
        embedder = await self.embedders.embedder(job.row.owner, model)
        vectors: dict[str, Vector] = {}
        if job.subject.served_generation is not None:
            async with autocommit(self.engine) as conn:
                known = await self.index.reusable(conn, target.document_id, model)
            # A provider may offer something else under the same name since: vectors of two lengths never meet.
            vectors = {text_hash: row for text_hash, row in known.items() if row.size == embedder.dimensions}
        fresh = list({c.text_hash: c.meaning for c in chunks if c.text_hash not in vectors}.items())
        if fresh:
            embedded = await embedder.embed([text for _, text in fresh])
            vectors.update(zip((text_hash for text_hash, _ in fresh), embedded, strict=True))
        return _Encoded(model, [VectorRow(target, c.id, c.text_hash, vectors[c.text_hash]) for c in chunks])


@dataclass(frozen=True, slots=True)
class BuildFulltext:
    """Analyses chunks with the analyzer that their collection was created with, a few at a time: owners take turns."""

    engine: AsyncEngine
    index: FulltextIndex
    turns: Shares[int] = field(default_factory=lambda: Shares(range(THREADS)))

    async def run(self, job: Job) -> Completion:
        target = _target(job)
        async with autocommit(self.engine) as conn:
            chunks = await served_chunks(conn, target.document_id)
            average = await self.index.average_length(conn, target.collection_id)
        rows: list[TermRow] = []
        for start in range(0, len(chunks), CHUNKS_PER_TURN):
            some = chunks[start : start + CHUNKS_PER_TURN]
            async with self.turns.taken(job.row.owner):
                rows += await asyncio.to_thread(term_rows, target, job.subject.analyzer, some, average)
        return Completion(_Built(target, _parsed(chunks), rows), len(rows), Served(data={"chunks": len(rows)}))

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        built: list[_Built[TermRow]] = [it.result for it in completed]
        await self.index.write(conn, [row for b in built for row in b.rows])
        await _remove_stale(conn, self.index, built)


def term_rows(
    target: IndexTarget, analyzer: str, chunks: Sequence[StoredChunk], average_length: float
) -> list[TermRow]:
    weighed = weigh(analyzer_for(analyzer), [chunk.text for chunk in chunks], average_length)
    return [
        TermRow(target, chunk.id, terms.length, terms.weights) for chunk, terms in zip(chunks, weighed, strict=True)
    ]


async def _remove_stale(conn: Connection, index: VectorIndex | FulltextIndex, built: Sequence[_Built[Row]]) -> None:
    """A document's first generation replaces nothing."""
    rebuilt = [b for b in built if b.target.generation > FIRST_GENERATION]
    if rebuilt:
        await index.remove_stale(conn, [b.target for b in rebuilt])
        await remove_unused_chunks(conn, {b.target.document_id: b.parsed for b in rebuilt})


def _target(job: Job) -> IndexTarget:
    return IndexTarget(job.row.subject_id, job.row.collection_id or "", job.row.generation)


def _parsed(chunks: Sequence[StoredChunk]) -> int:
    """A parse serves at least one chunk, else it would have failed; 0 keeps everything if it is gone meanwhile."""
    return chunks[0].generation if chunks else 0
