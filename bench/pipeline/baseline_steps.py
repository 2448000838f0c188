"""What the baseline's tasks do: our functions, in the task's own process, and the rows that our jobs write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_common.db.session import autocommit
from aperag_common.jobs.steps import StepKind
from aperag_common.objects import layout
from aperag_indexer.adapters.kreuzberg import read
from aperag_indexer.indexing.handlers import term_rows
from aperag_indexer.indexing.repository import served_chunks
from aperag_indexer.parsing.repository import add_chunks
from aperag_indexer.settings import ChunkSettings
from aperag_retrieval.chunking import CHUNKER_VERSION, ChunkPolicy, chunk_document
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.lexical import PgFulltextIndex
from aperag_retrieval.ports import IndexTarget, VectorRow
from aperag_work.database import driver
from bench.harness.rows import MODEL, embed
from bench.pipeline import baseline_rows
from bench.pipeline.accept import once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.objects import LocalObjectStore
    from bench.pipeline.baseline_rows import Claimed

PARSER = "baseline"


class Superseded(Exception):
    """The job is somebody else's by now: roll back."""


@dataclass(frozen=True, slots=True)
class BaselineSteps:
    """Of one process, which does one of them at a time."""

    engine: AsyncEngine
    objects: LocalObjectStore
    vectors: PgVectorIndex
    fulltext: PgFulltextIndex

    async def parse(self, document_id: str) -> None:
        claimed = await self._claim(document_id, StepKind.PARSE)
        if claimed is None:
            return
        source = self.objects.local_path(claimed.object_path)
        parsed = read(str(source), claimed.name[claimed.name.rindex(".") :])
        settings = ChunkSettings()
        drafts = chunk_document(parsed, ChunkPolicy(settings.size, settings.overlap))
        path = layout.parsed(layout.prefix_of(claimed.object_path), claimed.sha256, PARSER)
        await self.objects.put(path, once(parsed.markdown.encode()))
        chunker = f"{CHUNKER_VERSION}:{settings.size}/{settings.overlap}"
        data = {"sha256": claimed.sha256, "parser": PARSER, "chunker": chunker, "chunks": len(drafts), "markdown": path}
        async with self.engine.begin() as conn:
            await _settle(conn, claimed, data)
            await add_chunks(await driver(conn), [(claimed.row, draft) for draft in drafts])

    async def build(self, document_id: str, kind: StepKind) -> None:
        claimed = await self._claim(document_id, kind)
        if claimed is None:
            return
        target = IndexTarget(document_id, claimed.row.collection_id or "", claimed.row.generation)
        if kind is StepKind.VECTOR:
            await self._build_vectors(claimed, target)
        else:
            await self._build_fulltext(claimed, target)

    async def finish(self, document_id: str) -> None:
        async with autocommit(self.engine) as conn:
            await baseline_rows.complete(conn, document_id)

    async def _build_vectors(self, claimed: Claimed, target: IndexTarget) -> None:
        async with autocommit(self.engine) as conn:
            chunks = await served_chunks(conn, target.document_id)
        embedded = embed([chunk.meaning for chunk in chunks])
        rows = [VectorRow(target, c.id, c.text_hash, vector) for c, vector in zip(chunks, embedded, strict=True)]
        async with self.engine.begin() as conn:
            await _settle(conn, claimed, {"chunks": len(rows), "model": MODEL.id, "models": [MODEL.id]})
            await self.vectors.write(conn, MODEL.id, rows)

    async def _build_fulltext(self, claimed: Claimed, target: IndexTarget) -> None:
        async with autocommit(self.engine) as conn:
            chunks = await served_chunks(conn, target.document_id)
            average = await self.fulltext.average_length(conn, target.collection_id)
        rows = term_rows(target, claimed.analyzer, chunks, average)
        async with self.engine.begin() as conn:
            await _settle(conn, claimed, {"chunks": len(rows)})
            await self.fulltext.write(conn, rows)

    async def _claim(self, document_id: str, kind: StepKind) -> Claimed | None:
        async with autocommit(self.engine) as conn:
            return await baseline_rows.claim(conn, document_id, kind)


async def _settle(conn: AsyncConnection, claimed: Claimed, data: Mapping[str, Any]) -> None:
    if not await baseline_rows.settle(conn, claimed.row, data):
        raise Superseded
