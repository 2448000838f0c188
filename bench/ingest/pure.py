"""What the same documents cost without any service between: read, cut, embed, analyse and insert, in one program.

Processes of a pool read, cut and embed, as many as the stack's pool has. The main process analyses, and writes what
has become ready since its last transaction, into the stack's own PostgreSQL with all its indexes.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from aperag_common import errors, ids
from aperag_common.db.models import Document
from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.session import make_engine
from aperag_common.pool import ProcessPool
from aperag_common.settings import PostgresSettings
from aperag_indexer.adapters.kreuzberg import KreuzbergParser
from aperag_indexer.adapters.warm import load
from aperag_indexer.settings import ChunkSettings, ParseSettings
from aperag_retrieval.analysis import analyzer_for
from aperag_retrieval.chunking import ChunkDraft, ChunkPolicy, ParsedDocument, chunk_document
from aperag_retrieval.embedding import LocalEmbedder
from aperag_retrieval.lexical import weigh
from aperag_retrieval.local import encode
from aperag_retrieval.ports import IndexTarget, Vector
from bench.harness.rows import FIRST_GENERATION, MODEL, Content, write
from bench.measure.processes import POSTGRES, StackProcesses, cpu_between, own_cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.stack import Stack
    from bench.corpora.document import CorpusDocument

READ_AHEAD = 2
"""Documents in hand per process, so that none waits while the main process writes."""
AVERAGE_LENGTH = 200.0
Prepared = tuple[list[ChunkDraft], Vector]


@dataclass(frozen=True, slots=True)
class Pure:
    """``cpu_seconds`` by process: ``main``, ``pool`` and ``postgres``."""

    seconds: float
    chunks: int
    cpu_seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows go."""

    collection: str
    owner: str
    analyzer: str


async def pure(stack: Stack, place: Place, documents: Sequence[CorpusDocument], *, workers: int, folder: Path) -> Pure:
    """``folder`` takes the documents' bytes; they are written before the clock starts, as is the encoder loaded."""
    for document in documents:
        (folder / document.name).write_bytes(document.body)
    pool = ProcessPool(workers)
    parser = KreuzbergParser(pool, timeout=ParseSettings().timeout)
    engine = make_engine(PostgresSettings(url=stack.postgres_url), name="bench")
    measured = StackProcesses(stack)
    try:
        await asyncio.gather(*(pool.run(load, [MODEL.id]) for _ in range(workers)))
        async with engine.connect():
            pass
        servers, own = measured.cpu_seconds(), own_cpu_seconds()
        begun = time.perf_counter()
        chunks = await _Run(engine, pool, parser, place, folder).ingest(documents)
        seconds = time.perf_counter() - begun
        spent = cpu_between(own, own_cpu_seconds())
        spent[POSTGRES] = cpu_between(servers, measured.cpu_seconds())[POSTGRES]
    finally:
        await pool.close()
        await engine.dispose()
    return Pure(seconds, chunks, spent)


@dataclass(frozen=True, slots=True)
class _Run:
    engine: AsyncEngine
    pool: ProcessPool
    parser: KreuzbergParser
    place: Place
    folder: Path
    ready: asyncio.Queue[tuple[CorpusDocument, Prepared] | None] = field(default_factory=asyncio.Queue)

    async def ingest(self, documents: Sequence[CorpusDocument]) -> int:
        """The number of chunks written."""
        waiting = iter(documents)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._write_all())
            await asyncio.gather(*(self._prepare_each(waiting) for _ in range(self.pool.workers * READ_AHEAD)))
            self.ready.put_nowait(None)
        return writing.result()

    async def _prepare_each(self, waiting: Iterable[CorpusDocument]) -> None:
        for document in waiting:
            prepared = await self._prepare(document)
            if prepared is not None:
                self.ready.put_nowait((document, prepared))

    async def _prepare(self, document: CorpusDocument) -> Prepared | None:
        """None for what no reader can read, which the stack ends as FAILED."""
        try:
            parsed = await self.parser.parse(self.folder / document.name, name=document.name)
        except errors.ApeRAGError:
            return None
        drafts, vectors = await self.pool.run(cut_and_embed, parsed)
        if vectors is None:
            vectors = await LocalEmbedder(self.pool, MODEL).embed([draft.text for draft in drafts])
        return (drafts, vectors) if drafts else None

    async def _write_all(self) -> int:
        written, more = 0, True
        while more:
            batch = [await self.ready.get()]
            while not self.ready.empty():
                batch.append(self.ready.get_nowait())
            more = None not in batch
            written += await self._write([found for found in batch if found is not None])
        return written

    async def _write(self, batch: Sequence[tuple[CorpusDocument, Prepared]]) -> int:
        if not batch:
            return 0
        contents = await asyncio.to_thread(_analysed, self.place, [prepared for _, prepared in batch])
        rows = [
            _row(self.place, content.target, document) for content, (document, _) in zip(contents, batch, strict=True)
        ]
        async with self.engine.begin() as conn:
            await conn.execute(insert(Document), rows)
            await write(conn, contents)
        return sum(len(content.drafts) for content in contents)


def cut_and_embed(parsed: ParsedDocument) -> tuple[list[ChunkDraft], Vector | None]:
    """Runs in a process of the pool. No vectors where there are more chunks than one batch holds: all processes
    share those, as in the stack.
    """
    settings = ChunkSettings()
    drafts = chunk_document(parsed, ChunkPolicy(settings.size, settings.overlap))
    if len(drafts) > MODEL.batch or not drafts:
        return drafts, None
    return drafts, encode(MODEL.id, tuple(draft.text for draft in drafts))


def _analysed(place: Place, batch: Sequence[Prepared]) -> list[Content]:
    analyzer = analyzer_for(place.analyzer)
    return [
        Content(
            IndexTarget(str(ids.new_document_id()), place.collection, FIRST_GENERATION),
            drafts,
            vectors,
            weigh(analyzer, [draft.text for draft in drafts], AVERAGE_LENGTH),
        )
        for drafts, vectors in batch
    ]


def _row(place: Place, target: IndexTarget, document: CorpusDocument) -> dict[str, Any]:
    return {
        "id": target.document_id,
        "collection_id": place.collection,
        "owner": place.owner,
        "name": document.name,
        "status": DocumentStatus.COMPLETE,
        "size": len(document.body),
        "sha256": hashlib.sha256(document.body).hexdigest(),
        "object_path": document.name,
        "details": {},
    }
