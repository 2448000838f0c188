"""The indexer's jobs on the real database: what is written, what is reused, what is removed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from aperag_common.bus.delivery import Ack, Nak
from aperag_common.db.models.chunk_vector import USE_MODEL
from aperag_common.jobs.declared import INDEXES, PARSE
from aperag_common.jobs.kind import Wanted
from aperag_common.jobs.steps import StepKind
from aperag_common.objects import LocalObjectStore
from aperag_indexer.indexing.handlers import BuildFulltext, BuildVectors
from aperag_indexer.parsing.handlers import Parse
from aperag_indexer.removal.handlers import RemoveDocument, RemoveIndex
from aperag_retrieval.chunking import ChunkDraft, ChunkPolicy, ParsedDocument, ReadWarning, chunk_document
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.embedding import EmbeddersBesideLocal
from aperag_retrieval.lexical import PgFulltextIndex
from aperag_retrieval.testing import WordEmbedders
from aperag_testing.steps import Steps, attempt
from aperag_work.engine import Engine
from aperag_work.policy import WorkPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.delivery import Settlement
    from aperag_common.metrics import Metrics
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher

BODY = "# Tides\n\nThe moon pulls the sea.\n\n# Coffee\n\nBeans are roasted.\n"


class CountingParser:
    """Reads Markdown as it is; ``version`` may be changed as an update would."""

    def __init__(self) -> None:
        self.version = "counting/1"
        self.reads = 0

    async def parse(self, path: Path, *, name: str, owner: str) -> ParsedDocument:
        self.reads += 1
        return ParsedDocument(path.read_text(encoding="utf-8"), warnings=(ReadWarning("damaged_text", "", "torn"),))


class FrozenParser:
    """Reads something else, and only once it is ``thawed``."""

    version = "frozen/0"

    def __init__(self) -> None:
        self.reading, self.thawed = asyncio.Event(), asyncio.Event()

    async def parse(self, path: Path, *, name: str, owner: str) -> ParsedDocument:
        self.reading.set()
        await self.thawed.wait()
        return ParsedDocument("outdated")


class CountingEmbedder:
    """A unit vector that depends on the text alone."""

    model = USE_MODEL
    dimensions = 512

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str], *, as_queries: bool = False) -> Any:
        self.texts += texts
        seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:4], "big") for t in texts]
        rows = np.stack([np.random.default_rng(seed).standard_normal(512) for seed in seeds]).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def of(self, owner: str) -> CountingEmbedder:
        return self

    async def close(self) -> None:
        return None


class Indexer:
    """All job kinds of the indexer over one database and object directory."""

    def __init__(
        self,
        engine: AsyncEngine,
        database: Database,
        dispatcher: Dispatcher,
        metrics: Metrics,
        objects: LocalObjectStore,
    ) -> None:
        self.engine = engine
        self.objects = objects
        self.parser = CountingParser()
        self.embedder = CountingEmbedder()
        self.worker = Engine(database, dispatcher, WorkPolicy(), metrics, "tests", source="indexer")
        self.steps = Steps(engine, self.worker)
        self.parse = Parse(engine, objects, self.parser, ChunkPolicy(20, 4), _chunk)
        embedders = EmbeddersBesideLocal([self.embedder], WordEmbedders({}))
        vectors = BuildVectors(engine, PgVectorIndex(), embedders)
        fulltext = BuildFulltext(engine, PgFulltextIndex())
        vector, words = INDEXES[StepKind.VECTOR], INDEXES[StepKind.FULLTEXT]
        self.worker.handle(PARSE, self.parse.run, write=self.parse.write)
        self.worker.handle(vector, vectors.run, write=vectors.write)
        self.worker.handle(words, fulltext.run, write=fulltext.write)
        remove = RemoveDocument(objects)
        self.worker.handle(PARSE, remove.run, wanted=Wanted.ABSENT, write=remove.write)
        for kind, index in ((vector, vectors.index), (words, fulltext.index)):
            gone = RemoveIndex(index)
            self.worker.handle(kind, gone.run, wanted=Wanted.ABSENT, write=gone.write)

    async def upload(self, body: str = BODY) -> str:
        change = await self.steps.upload(body=body.encode())
        path = (await self.column("SELECT object_path FROM document"))[-1]
        await self.objects.put(path, _chunks(body.encode()))
        return change.document_id

    async def attempt(self, document_id: str, kind: str) -> Settlement:
        return await attempt(self.worker, await self.steps.command(document_id, kind))

    async def run(self, document_id: str, *kinds: str) -> None:
        for kind in kinds or ("parse", "vector", "fulltext"):
            assert await self.attempt(document_id, kind) == Ack(outcome="done")

    async def served_markdown(self) -> str:
        """Of the only document."""
        [path] = await self.column("SELECT data ->> 'markdown' FROM document_index WHERE kind = 'parse'")
        return b"".join([block async for block in self.objects.open(path)]).decode()

    async def rebuild(self, document_id: str) -> None:
        await self.steps.rebuild(document_id)

    async def column(self, sql: str) -> list[Any]:
        return await self.steps.column(sql)


async def _chunk(_: str, document: ParsedDocument, policy: ChunkPolicy) -> list[ChunkDraft]:
    return chunk_document(document, policy)


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture
def indexer(
    engine: AsyncEngine, job_database: Database, dispatcher: Dispatcher, metrics: Metrics, tmp_path: Path
) -> Indexer:
    return Indexer(engine, job_database, dispatcher, metrics, LocalObjectStore(tmp_path / "objects"))


async def test_every_chunk_gets_one_vector_and_one_term_row(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id)
    chunks = await indexer.column("SELECT id FROM chunk")
    assert len(chunks) >= 2
    assert sorted(await indexer.column("SELECT chunk_id FROM chunk_vector")) == sorted(chunks)
    assert sorted(await indexer.column("SELECT chunk_id FROM chunk_term")) == sorted(chunks)
    assert await indexer.column("SELECT status FROM document") == ["COMPLETE"]


async def test_the_parsed_markdown_is_kept_beside_the_original(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id, "parse")
    assert await indexer.served_markdown() == BODY


async def test_what_the_reader_could_not_read_is_kept_with_the_parse(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id, "parse")
    [warnings] = await indexer.column("SELECT data -> 'warnings' FROM document_index WHERE kind = 'parse'")
    assert warnings == [{"kind": "damaged_text", "place": "", "message": "torn"}]


async def test_a_newer_parse_replaces_the_markdown_and_leaves_no_other(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id)
    indexer.parser.version = "counting/2"
    await indexer.rebuild(document_id)
    await indexer.run(document_id)
    assert await indexer.served_markdown() == BODY
    assert len([info async for info in indexer.objects.objects() if info.path.endswith(".md")]) == 1


async def test_an_older_parser_that_comes_late_changes_nothing(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    frozen = FrozenParser()
    late = Engine(
        indexer.worker.database,
        indexer.worker.dispatcher,
        WorkPolicy(),
        indexer.worker.metrics,
        "late",
        source="indexer",
    )
    parse = replace(indexer.parse, parser=frozen)
    late.handle(PARSE, parse.run, write=parse.write)
    working = asyncio.create_task(attempt(late, await indexer.steps.command(document_id)))
    await frozen.reading.wait()
    await indexer.rebuild(document_id)
    await indexer.run(document_id)
    frozen.thawed.set()
    assert await working == Ack(outcome="superseded")
    assert await indexer.served_markdown() == BODY
    assert set(await indexer.column("SELECT generation FROM chunk")) == {2}
    assert [text for text in await indexer.column("SELECT text FROM chunk") if "outdated" in text] == []


async def test_a_rebuild_of_unchanged_bytes_neither_parses_nor_embeds_again(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id)
    embedded = len(indexer.embedder.texts)
    await indexer.rebuild(document_id)
    await indexer.run(document_id)
    assert indexer.parser.reads == 1
    assert len(indexer.embedder.texts) == embedded
    assert set(await indexer.column("SELECT generation FROM chunk_vector")) == {2}
    assert set(await indexer.column("SELECT generation FROM chunk")) == {1}


async def test_a_newer_parser_reads_again_and_unchanged_chunks_keep_their_vectors(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id)
    embedded = len(indexer.embedder.texts)
    indexer.parser.version = "counting/2"
    await indexer.rebuild(document_id)
    await indexer.run(document_id)
    assert indexer.parser.reads == 2
    assert len(indexer.embedder.texts) == embedded
    assert set(await indexer.column("SELECT generation FROM chunk")) == {2}


async def test_an_older_parse_stays_while_an_index_serves_it(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id)
    indexer.parser.version = "counting/2"
    await indexer.rebuild(document_id)
    await indexer.run(document_id, "parse", "vector")
    assert set(await indexer.column("SELECT generation FROM chunk")) == {1, 2}
    served = "SELECT DISTINCT c.generation FROM chunk_term t JOIN chunk c ON c.id = t.chunk_id"
    assert await indexer.column(served) == [1]
    await indexer.run(document_id, "fulltext")
    assert set(await indexer.column("SELECT generation FROM chunk")) == {2}


async def test_a_document_that_repeats_itself_is_embedded_once(indexer: Indexer) -> None:
    paragraph = "The same twelve words stand here again and again and again today."
    document_id = await indexer.upload("\n\n".join(f"# H\n\n{paragraph}" for _ in range(6)))
    await indexer.run(document_id)
    assert len(indexer.embedder.texts) == len(set(indexer.embedder.texts))


async def test_missing_bytes_end_the_document_with_a_reason(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.objects.delete((await indexer.column("SELECT object_path FROM document"))[0])
    assert await indexer.attempt(document_id, "parse") == Ack(outcome="failed")
    assert await indexer.column("SELECT DISTINCT status FROM job") == ["FAILED"]
    [message] = await indexer.column("SELECT DISTINCT error_message FROM job")
    assert "missing" in message


async def test_bytes_that_a_delete_takes_from_under_a_parse_are_no_error(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    document_id = await indexer.upload()

    async def overtaken(path: Path, *, name: str, owner: str) -> ParsedDocument:
        assert await indexer.steps.delete(document_id)
        path.unlink()
        return ParsedDocument(path.read_text(encoding="utf-8"))

    monkeypatch.setattr(indexer.parser, "parse", overtaken)
    with capture_logs() as lines:
        assert await indexer.attempt(document_id, "parse") == Ack(outcome="superseded")
    assert [(it["event"], it["log_level"]) for it in lines] == [("job.failed_in_vain", "info")]
    assert await indexer.column("SELECT 1 FROM dead_letter") == []


async def test_a_removal_leaves_no_row_and_no_object(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id)
    prefix = (await indexer.column("SELECT object_path FROM document"))[0].rpartition("/")[0]
    change = await indexer.steps.delete(document_id)
    assert change is not None
    for command in change.commands:
        assert await attempt(indexer.worker, command.message) == Ack(outcome="done")
    for table in ("chunk", "chunk_vector", "chunk_term", "document_index"):
        assert await indexer.column(f"SELECT 1 FROM {table}") == []
    assert await indexer.column("SELECT status FROM job") == ["DELETED"] * 3
    assert [info async for info in indexer.objects.objects(prefix)] == []


async def test_an_embedding_model_nobody_offers_is_retried_not_failed(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id, "parse")
    async with indexer.engine.begin() as conn:
        await conn.execute(text("UPDATE collection SET active_model = 'elsewhere/1'"))
    assert isinstance(await indexer.attempt(document_id, "vector"), Nak)
    assert await indexer.column("SELECT error_code FROM job WHERE kind = 'index.vector'") == ["MODEL_UNAVAILABLE"]
