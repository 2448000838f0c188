"""A collection that tests fill the way the indexer does and search the way the gateway does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from aperag_common.db.models import Chunk, Collection, Document, DocumentIndex
from aperag_common.jobs.steps import StepKind
from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for
from aperag_retrieval.chunking import text_hash
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.embedding import InProcessEmbedder
from aperag_retrieval.lexical import PgFulltextIndex, weigh
from aperag_retrieval.ports import IndexTarget, TermRow, VectorRow
from aperag_retrieval.search import LegRequest, Searcher, SearchOutcome, SearchRequest

COLLECTION = "col1"
VECTORS, FULLTEXT = PgVectorIndex(), PgFulltextIndex()


@dataclass(frozen=True)
class Library:
    """Writes documents the way the indexer does and searches them the way the gateway does."""

    engine: AsyncEngine
    embedder: InProcessEmbedder
    searcher: Searcher

    async def collection(self, collection_id: str) -> None:
        row = {"id": collection_id, "owner": "user1", "title": collection_id, "config": {}}
        row |= {"analyzer": DEFAULT_ANALYZER, "active_model": self.embedder.model}
        async with self.engine.begin() as conn:
            await conn.execute(insert(Collection).values(**row))

    async def document(self, document_id: str, *texts: str, collection_id: str = COLLECTION) -> list[str]:
        row = {"id": document_id, "collection_id": collection_id, "owner": "user1", "name": f"{document_id}.md"}
        async with self.engine.begin() as conn:
            await conn.execute(
                insert(Document).values(**row, status="COMPLETE", size=1, sha256="0", object_path="p", details={})
            )
            for kind in (StepKind.VECTOR, StepKind.FULLTEXT):
                await conn.execute(
                    insert(DocumentIndex).values(document_id=document_id, kind=kind, served_generation=1, data={})
                )
        return await self.index(IndexTarget(document_id, collection_id, 1), texts)

    async def index(self, target: IndexTarget, texts: Sequence[str]) -> list[str]:
        """Chunks and both indexes' rows of one generation; returns the chunk ids."""
        ids = [f"{target.document_id}-{target.generation}-{ordinal}" for ordinal in range(len(texts))]
        rows = await self.embedder.embed(texts)
        async with self.engine.begin() as conn:
            for ordinal, (chunk_id, text) in enumerate(zip(ids, texts, strict=True)):
                await conn.execute(
                    insert(Chunk).values(
                        id=chunk_id,
                        document_id=target.document_id,
                        collection_id=target.collection_id,
                        generation=target.generation,
                        ordinal=ordinal,
                        text=text,
                        text_hash=text_hash(text),
                        details={"titles": ["Title"], "page_idx": ordinal},
                    )
                )
            await VECTORS.write(
                conn,
                self.embedder.model,
                [VectorRow(target, i, text_hash(t), r) for i, t, r in zip(ids, texts, rows, strict=True)],
            )
            average = await FULLTEXT.average_length(conn, target.collection_id)
            weighed = weigh(analyzer_for(DEFAULT_ANALYZER), texts, average)
            await FULLTEXT.write(
                conn, [TermRow(target, i, w.length, w.weights) for i, w in zip(ids, weighed, strict=True)]
            )
        return ids

    async def search(
        self,
        query: str,
        *,
        vector: LegRequest | None = None,
        fulltext: LegRequest | None = None,
        model: str | None = None,
        analyzer: str = DEFAULT_ANALYZER,
    ) -> SearchOutcome:
        request = SearchRequest(COLLECTION, "user1", query, vector, fulltext)
        return await self.searcher.search(request, analyzer=analyzer, model=model or self.embedder.model)

    async def names(self, query: str, *, vector: int = 0, fulltext: int = 0) -> list[str]:
        outcome = await self.search(
            query,
            vector=LegRequest(vector) if vector else None,
            fulltext=LegRequest(fulltext) if fulltext else None,
        )
        assert outcome.errors == {}
        return [hit.document_name for hit in outcome.items]
