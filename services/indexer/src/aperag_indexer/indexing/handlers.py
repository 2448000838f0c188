"""The build steps: from chunks to the rows that searches read."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from aperag_common.db.session import autocommit
from aperag_common.events.commands import BuildIndex
from aperag_common.work.claims import Claims, StepClaim
from aperag_common.work.finisher import Finished, Finisher
from aperag_indexer.indexing.repository import StoredChunk, served_chunks
from aperag_indexer.parsing.repository import FIRST_GENERATION, remove_unused_chunks
from aperag_retrieval.analysis import analyzer_for
from aperag_retrieval.embedding import Embedders
from aperag_retrieval.lexical import weigh
from aperag_retrieval.ports import FulltextIndex, IndexTarget, TermRow, Vector, VectorIndex, VectorRow

Row = TypeVar("Row")


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


class VectorStep:
    """Embeds chunks; a chunk whose text has been embedded before keeps its vector.

    While a collection changes its embedding model, the rows of both are made: what is served goes on being found by the
    one, and the other misses nothing when it takes over. The step's data says which models the served rows are of.
    """

    def __init__(self, claims: Claims, index: VectorIndex, embedders: Embedders) -> None:
        self._claims = claims
        self._index = index
        self._embedders = embedders
        self._finisher = Finisher(claims, self._write)

    async def handle(self, command: BuildIndex) -> None:
        async with self._claims.claim(command) as step:
            built = await self._build(step)
            models = [encoded.model for encoded in built.rows]
            written = sum(len(encoded.rows) for encoded in built.rows)
            data = {"chunks": written // len(models), "model": step.subject.active_model, "models": models}
            await self._finisher.finish(step, built, rows=written, data=data)

    async def _build(self, step: StepClaim) -> _Built[_Encoded]:
        target = _target(step)
        async with autocommit(self._claims.engine) as conn:
            chunks = await served_chunks(conn, target.document_id)
        models = dict.fromkeys(m for m in (step.subject.active_model, step.subject.wanted_model) if m is not None)
        return _Built(target, _parsed(chunks), [await self._encoded(step, target, chunks, model) for model in models])

    async def _encoded(
        self, step: StepClaim, target: IndexTarget, chunks: Sequence[StoredChunk], model: str
    ) -> _Encoded:
        embedder = await self._embedders.embedder(step.row.owner, model)
        vectors: dict[str, Vector] = {}
        if step.served_generation is not None:
            async with autocommit(self._claims.engine) as conn:
                known = await self._index.reusable(conn, target.document_id, model)
            # A provider may offer something else under the same name since: vectors of two lengths never meet.
            vectors = {text_hash: row for text_hash, row in known.items() if row.size == embedder.dimensions}
        fresh = list({c.text_hash: c.text for c in chunks if c.text_hash not in vectors}.items())
        if fresh:
            embedded = await embedder.embed([text for _, text in fresh])
            vectors.update(zip((text_hash for text_hash, _ in fresh), embedded, strict=True))
        return _Encoded(model, [VectorRow(target, c.id, c.text_hash, vectors[c.text_hash]) for c in chunks])

    async def _write(self, conn: AsyncConnection, finished: Sequence[Finished[_Built[_Encoded]]]) -> None:
        built = [f.result for f in finished]
        by_model: dict[str, list[VectorRow]] = defaultdict(list)
        for encoded in (encoded for b in built for encoded in b.rows):
            by_model[encoded.model] += encoded.rows
        for model, rows in by_model.items():
            await self._index.write(conn, model, rows)
        await _remove_stale(conn, self._index, built)


class FulltextStep:
    """Analyses chunks with the analyzer that their collection was created with."""

    def __init__(self, claims: Claims, index: FulltextIndex) -> None:
        self._claims = claims
        self._index = index
        self._finisher = Finisher(claims, self._write)

    async def handle(self, command: BuildIndex) -> None:
        async with self._claims.claim(command) as step:
            target = _target(step)
            async with autocommit(self._claims.engine) as conn:
                chunks = await served_chunks(conn, target.document_id)
                average = await self._index.average_length(conn, target.collection_id)
            rows = await asyncio.to_thread(term_rows, target, step.subject.analyzer, chunks, average)
            built = _Built(target, _parsed(chunks), rows)
            await self._finisher.finish(step, built, rows=len(rows), data={"chunks": len(rows)})

    async def _write(self, conn: AsyncConnection, finished: Sequence[Finished[_Built[TermRow]]]) -> None:
        built = [f.result for f in finished]
        await self._index.write(conn, [row for b in built for row in b.rows])
        await _remove_stale(conn, self._index, built)


def term_rows(
    target: IndexTarget, analyzer: str, chunks: Sequence[StoredChunk], average_length: float
) -> list[TermRow]:
    weighed = weigh(analyzer_for(analyzer), [chunk.text for chunk in chunks], average_length)
    return [
        TermRow(target, chunk.id, terms.length, terms.weights) for chunk, terms in zip(chunks, weighed, strict=True)
    ]


async def _remove_stale(
    conn: AsyncConnection, index: VectorIndex | FulltextIndex, built: Sequence[_Built[Row]]
) -> None:
    """A document's first generation replaces nothing."""
    rebuilt = [b for b in built if b.target.generation > FIRST_GENERATION]
    if rebuilt:
        await index.remove_stale(conn, [b.target for b in rebuilt])
        await remove_unused_chunks(conn, {b.target.document_id: b.parsed for b in rebuilt})


def _target(step: StepClaim) -> IndexTarget:
    return IndexTarget(step.row.document_id, step.row.collection_id, step.row.generation)


def _parsed(chunks: Sequence[StoredChunk]) -> int:
    """A parse serves at least one chunk, else it would have failed; 0 keeps everything if it is gone meanwhile."""
    return chunks[0].generation if chunks else 0
