"""The indexer's steps on the real database: what is written, what is reused, what is removed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from aperag_common.bus.delivery import Ack, Settled
from aperag_common.objects import LocalObjectStore
from aperag_common.testing.factories import KINDS, PACE, make_upload
from aperag_common.work import changes
from aperag_common.work.claims import Claims
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, step_dispatch
from aperag_common.work.policy import WorkPolicy
from aperag_indexer.indexing.handlers import FulltextStep, VectorStep
from aperag_indexer.parsing.handlers import ParseStep
from aperag_indexer.removal.handlers import RemoveStep
from aperag_retrieval.chunking import ChunkDraft, ChunkPolicy, ParsedDocument, chunk_document
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.embedding import LOCAL_MODEL, EmbeddersBesideLocal, NoEmbedders
from aperag_retrieval.lexical import PgFulltextIndex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.metrics import Metrics
    from aperag_common.work.courier import Courier

BODY = "# Tides\n\nThe moon pulls the sea.\n\n# Coffee\n\nBeans are roasted.\n"


class CountingParser:
    """Reads Markdown as it is; ``version`` may be changed as an update would."""

    def __init__(self) -> None:
        self.version = "counting/1"
        self.reads = 0

    async def parse(self, path: Path, *, name: str) -> ParsedDocument:
        self.reads += 1
        return ParsedDocument(path.read_text(encoding="utf-8"))


class FrozenParser:
    """Reads something else, and only once it is ``thawed``."""

    version = "frozen/0"

    def __init__(self) -> None:
        self.reading, self.thawed = asyncio.Event(), asyncio.Event()

    async def parse(self, path: Path, *, name: str) -> ParsedDocument:
        self.reading.set()
        await self.thawed.wait()
        return ParsedDocument("outdated")


class CountingEmbedder:
    """A unit vector that depends on the text alone."""

    model = LOCAL_MODEL
    dimensions = 512

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Any:
        self.texts += texts
        seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:4], "big") for t in texts]
        rows = np.stack([np.random.default_rng(seed).standard_normal(512) for seed in seeds]).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    async def close(self) -> None:
        return None


class Indexer:
    """All steps over one database and object directory."""

    def __init__(self, engine: AsyncEngine, courier: Courier, metrics: Metrics, objects: LocalObjectStore) -> None:
        claims = Claims(engine, courier, WorkPolicy(), metrics, "tests")
        self.engine = engine
        self.objects = objects
        self.parser = CountingParser()
        self.embedder = CountingEmbedder()
        vectors, fulltext = PgVectorIndex(), PgFulltextIndex()
        self.parse = ParseStep(claims, objects, self.parser, ChunkPolicy(20, 4), _chunk)
        self.steps: dict[str, Any] = {
            "parse": self.parse,
            "vector": VectorStep(claims, vectors, EmbeddersBesideLocal(self.embedder, NoEmbedders())),
            "fulltext": FulltextStep(claims, fulltext),
        }
        self.remove = RemoveStep(claims, objects, vectors, fulltext)

    async def upload(self, body: str = BODY) -> str:
        async with self.engine.begin() as conn:
            change = await make_upload(conn, body=body.encode())
            path = (await conn.execute(text("SELECT object_path FROM document"))).scalars().all()[-1]
        await self.objects.put(path, _chunks(body.encode()))
        return change.document_id

    async def run(self, document_id: str, *kinds: str) -> None:
        for kind in kinds or ("parse", "vector", "fulltext"):
            await self.steps[kind].handle(await self.command(document_id, kind))

    async def command(self, document_id: str, kind: str) -> Any:
        query = text(f"SELECT {STEP_COLUMNS} FROM document_step WHERE document_id = :d AND kind = :k")
        async with self.engine.connect() as conn:
            row = (await conn.execute(query, {"d": document_id, "k": kind})).one()
        return step_dispatch(StepRow(**row._mapping), source="tests").message

    async def served_markdown(self) -> str:
        """Of the only document."""
        [path] = await self.column("SELECT data ->> 'markdown' FROM document_step WHERE kind = 'parse'")
        return b"".join([block async for block in self.objects.open(path)]).decode()

    async def rebuild(self, document_id: str, kinds: Sequence[Any] = KINDS) -> None:
        async with self.engine.begin() as conn:
            assert await changes.rebuild(conn, document_id, kinds=kinds, pace=PACE)

    async def column(self, sql: str) -> list[Any]:
        async with self.engine.connect() as conn:
            return list((await conn.execute(text(sql))).scalars())


async def _chunk(document: ParsedDocument, policy: ChunkPolicy) -> list[ChunkDraft]:
    return chunk_document(document, policy)


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture
def indexer(engine: AsyncEngine, courier: Courier, metrics: Metrics, tmp_path: Path) -> Indexer:
    return Indexer(engine, courier, metrics, LocalObjectStore(tmp_path / "objects"))


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
    late = ParseStep(indexer.parse.claims, indexer.objects, frozen, indexer.parse.policy, _chunk)
    working = asyncio.create_task(late.handle(await indexer.command(document_id, "parse")))
    await frozen.reading.wait()
    await indexer.rebuild(document_id)
    await indexer.run(document_id)
    frozen.thawed.set()
    with pytest.raises(Settled) as settled:
        await working
    assert settled.value.settlement == Ack(outcome="superseded")
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
    with pytest.raises(Settled) as settled:
        await indexer.run(document_id, "parse")
    assert settled.value.settlement == Ack(outcome="failed")
    assert await indexer.column("SELECT DISTINCT status FROM document_step") == ["FAILED"]
    [message] = await indexer.column("SELECT DISTINCT error_message FROM document_step")
    assert "missing" in message


async def test_bytes_that_a_delete_takes_from_under_a_parse_are_no_error(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    document_id = await indexer.upload()

    async def overtaken(path: Path, *, name: str) -> ParsedDocument:
        async with indexer.engine.begin() as conn:
            assert await changes.delete(conn, document_id, first_due=PACE.first_due)
        path.unlink()
        return ParsedDocument(path.read_text(encoding="utf-8"))

    monkeypatch.setattr(indexer.parser, "parse", overtaken)
    with capture_logs() as lines, pytest.raises(Settled) as settled:
        await indexer.run(document_id, "parse")
    assert settled.value.settlement == Ack(outcome="superseded")
    assert [(it["event"], it["log_level"]) for it in lines] == [("step.failed_in_vain", "info")]
    assert await indexer.column("SELECT 1 FROM dead_letter") == []


async def test_a_removal_leaves_no_row_and_no_object(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id)
    prefix = (await indexer.column("SELECT object_path FROM document"))[0].rpartition("/")[0]
    async with indexer.engine.begin() as conn:
        change = await changes.delete(conn, document_id, first_due=PACE.first_due)
    assert change is not None
    for command in change.commands:
        await indexer.remove.handle(command.message)  # type: ignore[arg-type]
    for table in ("chunk", "chunk_vector", "chunk_term", "document_step"):
        assert await indexer.column(f"SELECT 1 FROM {table}") == []
    assert [info async for info in indexer.objects.objects(prefix)] == []


async def test_an_embedding_model_nobody_offers_is_retried_not_failed(indexer: Indexer) -> None:
    document_id = await indexer.upload()
    await indexer.run(document_id, "parse")
    async with indexer.engine.begin() as conn:
        await conn.execute(text("UPDATE collection SET active_model = 'elsewhere/1'"))
    with pytest.raises(Settled):
        await indexer.run(document_id, "vector")
    assert await indexer.column("SELECT error_code FROM document_step WHERE kind = 'vector'") == ["MODEL_UNAVAILABLE"]
