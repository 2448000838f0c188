"""The build steps: from chunks to the rows that searches read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aperag_common import errors
from aperag_common.events.commands import BuildIndex
from aperag_common.work.claims import Claims, StepClaim
from aperag_indexer.indexing.repository import StoredChunk, served_chunks
from aperag_indexer.parsing.repository import remove_unused_chunks
from aperag_retrieval.analysis import analyzer_for
from aperag_retrieval.embedding import Embedder
from aperag_retrieval.lexical import weigh
from aperag_retrieval.ports import FulltextIndex, IndexTarget, TermRow, Vector, VectorIndex, VectorRow


@dataclass(frozen=True, slots=True)
class VectorStep:
    """Embeds chunks; a chunk whose text has been embedded before keeps its vector."""

    claims: Claims
    index: VectorIndex
    embedder: Embedder

    async def handle(self, command: BuildIndex) -> None:
        async with self.claims.claim(command) as step:
            model = step.subject.active_model
            if model != self.embedder.model:
                message = f"The collection's embedding model {model} is not available in this indexer."
                raise errors.Retryable(message, code="MODEL_UNAVAILABLE")
            async with self.claims.engine.connect() as conn:
                chunks = await served_chunks(conn, step.row.document_id)
                known = await self.index.reusable(conn, step.row.document_id, model)
            rows = await self._rows(chunks, known)
            target = _target(step)
            async with step.finish(data={"chunks": len(rows), "model": model}) as finishing:
                await self.index.write(finishing.conn, target, model, rows)
                await self.index.remove_stale(finishing.conn, target.document_id, target.generation)
                await remove_unused_chunks(finishing.conn, target.document_id, before=_parse_generation(chunks))

    async def _rows(self, chunks: Sequence[StoredChunk], known: Mapping[str, Vector]) -> list[VectorRow]:
        vectors = dict(known)
        fresh = list({c.text_hash: c.text for c in chunks if c.text_hash not in vectors}.items())
        if fresh:
            embedded = await self.embedder.embed([text for _, text in fresh])
            vectors.update(zip((text_hash for text_hash, _ in fresh), embedded, strict=True))
        return [VectorRow(c.id, c.text_hash, vectors[c.text_hash]) for c in chunks]


@dataclass(frozen=True, slots=True)
class FulltextStep:
    """Analyses chunks with the analyzer that their collection was created with."""

    claims: Claims
    index: FulltextIndex

    async def handle(self, command: BuildIndex) -> None:
        async with self.claims.claim(command) as step:
            async with self.claims.engine.connect() as conn:
                chunks = await served_chunks(conn, step.row.document_id)
                average = await self.index.average_length(conn, step.row.collection_id)
            rows = await asyncio.to_thread(term_rows, step.subject.analyzer, chunks, average)
            target = _target(step)
            async with step.finish(data={"chunks": len(rows)}) as finishing:
                await self.index.write(finishing.conn, target, rows)
                await self.index.remove_stale(finishing.conn, target.document_id, target.generation)
                await remove_unused_chunks(finishing.conn, target.document_id, before=_parse_generation(chunks))


def term_rows(analyzer: str, chunks: Sequence[StoredChunk], average_length: float) -> list[TermRow]:
    weighed = weigh(analyzer_for(analyzer), [chunk.text for chunk in chunks], average_length)
    return [TermRow(chunk.id, terms.length, terms.weights) for chunk, terms in zip(chunks, weighed, strict=True)]


def _target(step: StepClaim) -> IndexTarget:
    return IndexTarget(step.row.document_id, step.row.collection_id, step.row.generation)


def _parse_generation(chunks: Sequence[StoredChunk]) -> int:
    """A parse serves at least one chunk, else it would have failed; 0 keeps everything if it is gone meanwhile."""
    return chunks[0].generation if chunks else 0
