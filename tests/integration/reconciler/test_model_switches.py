"""A collection changes its embedding model: searchable throughout, whole at the end, whatever happens between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.db.models import Lane, WorkflowKind
from aperag_common.db.models.chunk_vector import USE_MODEL
from aperag_common.jobs.declared import INDEXES, PARSE
from aperag_common.jobs.steps import StepKind
from aperag_common.objects import LocalObjectStore
from aperag_indexer.indexing.handlers import BuildVectors
from aperag_indexer.parsing.handlers import Parse
from aperag_reconciler.switches import reconcile
from aperag_reconciler.switches.reconcile import Switches
from aperag_retrieval.analysis import DEFAULT_ANALYZER
from aperag_retrieval.chunking import ChunkDraft, ChunkPolicy, ParsedDocument, chunk_document
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.search import LegRequest, Searcher, SearchRequest
from aperag_retrieval.testing import WordEmbedders
from aperag_testing.factories import make_collection, make_upload
from aperag_testing.steps import attempt
from aperag_testing.waiting import until
from aperag_work import cancel, changes, switching
from aperag_work.engine import Engine
from aperag_work.opening import Admission
from aperag_work.policy import WorkPolicy
from aperag_work.rows import Dispatch, JobRow, columns_of

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.events.commands import JobCommand
    from aperag_common.metrics import Metrics
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher

SHORT, LONG = "elsewhere/short", "elsewhere/long"
NO_GRACE, LONG_GRACE = timedelta(0), timedelta(hours=1)
ADMISSION = Admission(Lane.BULK, in_flight_per_owner=10_000, first_due=timedelta(seconds=60))


class PlainParser:
    version = "plain/1"

    async def parse(self, path: Path, *, name: str, owner: str) -> ParsedDocument:
        return ParsedDocument(path.read_text(encoding="utf-8"))


async def _chunk(owner: str, document: ParsedDocument, policy: ChunkPolicy) -> list[ChunkDraft]:
    return chunk_document(document, policy)


async def _bytes(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Library:
    """A collection, its gateway, its indexer and its reconciler; each moves when a test says so."""

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
        self.dispatcher = dispatcher
        self.embedders = WordEmbedders({USE_MODEL: 512, SHORT: 8, LONG: 1024})
        self.worker = Engine(database, dispatcher, WorkPolicy(max_failures=1), metrics, "tests", source="indexer")
        parse = Parse(engine, objects, PlainParser(), ChunkPolicy(40, 4), _chunk)
        vectors = BuildVectors(engine, PgVectorIndex(), self.embedders)
        self.worker.handle(PARSE, parse.run, write=parse.write)
        self.worker.handle(INDEXES[StepKind.VECTOR], vectors.run, write=vectors.write)
        self.searcher = Searcher(engine, self.embedders)
        self.collection = ""

    async def open(self) -> None:
        async with self.engine.begin() as conn:
            self.collection = await make_collection(conn)

    async def upload(self, *bodies: str) -> list[str]:
        """Accepted, nothing more."""
        accepted = []
        for body in bodies:
            async with self.engine.begin() as conn:
                change = await make_upload(
                    conn,
                    collection_id=self.collection,
                    kinds=[StepKind.VECTOR],
                    admission=ADMISSION,
                    body=body.encode(),
                )
                path = await conn.execute(
                    text("SELECT object_path FROM document WHERE id = :id"), {"id": change.document_id}
                )
            await self.objects.put(path.scalar_one(), _bytes(body.encode()))
            accepted.append(change.document_id)
        return accepted

    async def want(self, model: str) -> None:
        async with self.engine.begin() as conn:
            await switching.want(conn, self.collection, model)

    async def reconcile(self, grace: timedelta = NO_GRACE) -> None:
        await Switches(self.engine, self.dispatcher, ADMISSION, grace).run()

    async def commands(self, kind: StepKind) -> list[JobCommand]:
        published = "kind = :kind AND status = 'PENDING' AND dispatch > 0"
        rows = await self.rows(f"SELECT {columns_of('job')} FROM job WHERE {published} ORDER BY id", kind=kind.job)
        return [Dispatch(JobRow(*row), "tests").message for row in rows]

    async def work(self, *kinds: StepKind) -> None:
        """Everything that is published, a few at a time."""
        for kind in kinds or (StepKind.PARSE, StepKind.VECTOR):
            waiting = await self.commands(kind)
            for at in range(0, len(waiting), 8):
                await asyncio.gather(*(attempt(self.worker, it) for it in waiting[at : at + 8]))

    async def search(self, query: str) -> list[str]:
        """As the gateway does: the model is read first; the documents found, best first."""
        [(owner, model)] = await self.rows("SELECT owner, active_model FROM collection")
        request = SearchRequest(self.collection, owner, query, LegRequest(3))
        outcome = await self.searcher.search(request, analyzer=DEFAULT_ANALYZER, model=model)
        assert outcome.errors == {}
        return [hit.document_id for hit in outcome.items]

    async def rows(self, sql: str, **values: Any) -> list[Any]:
        async with self.engine.begin() as conn:
            result = await conn.execute(text(sql), values)
            return list(result.all()) if result.returns_rows else []

    async def models(self) -> tuple[str, str | None, bool]:
        """The active one, the wanted one, and whether anything is left to be done."""
        [row] = await self.rows("SELECT active_model, wanted_model, switching_since IS NOT NULL FROM collection")
        return row[0], row[1], row[2]

    async def vectors(self) -> dict[str, int]:
        """Documents that have rows, by model."""
        query = "SELECT model, count(DISTINCT document_id) FROM chunk_vector GROUP BY model"
        return {row[0]: row[1] for row in await self.rows(query)}

    async def progress(self) -> switching.Progress | None:
        async with self.engine.connect() as conn:
            return await switching.progress(conn, self.collection)


@pytest.fixture
async def library(
    engine: AsyncEngine, job_database: Database, dispatcher: Dispatcher, metrics: Metrics, tmp_path: Path
) -> Library:
    library = Library(engine, job_database, dispatcher, metrics, LocalObjectStore(tmp_path / "objects"))
    await library.open()
    return library


def bodies(count: int, *, first: int = 0) -> list[str]:
    return [f"the keeper of lighthouse number{n} watches ship{n}" for n in range(first, first + count)]


async def stocked(library: Library, count: int = 3) -> list[str]:
    ids = await library.upload(*bodies(count))
    await library.work()
    return ids


async def test_a_switch_builds_beside_what_is_served_and_flips_once(library: Library) -> None:
    ids = await stocked(library)
    await library.want(LONG)
    assert await library.models() == (USE_MODEL, LONG, True)
    await library.reconcile()
    await library.work()
    assert await library.vectors() == {USE_MODEL: 3, LONG: 3}
    assert (await library.models())[0] == USE_MODEL
    await library.reconcile()
    assert (await library.models())[:2] == (LONG, None)
    assert (await library.search("number1"))[0] == ids[1]
    await library.reconcile()
    assert await library.models() == (LONG, None, False)
    assert await library.vectors() == {LONG: 3}
    assert (await library.search("number2"))[0] == ids[2]


async def test_what_is_served_is_not_embedded_again(library: Library) -> None:
    await stocked(library)
    embedded = len(library.embedders[USE_MODEL].texts)
    await library.want(SHORT)
    await library.reconcile()
    await library.work()
    assert len(library.embedders[USE_MODEL].texts) == embedded
    assert len(library.embedders[SHORT].texts) == embedded


@pytest.mark.long
async def test_searches_never_miss_while_hundreds_of_documents_change_their_model(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MOST_DOCUMENTS", 60)
    ids = await stocked(library, 200)
    missed, searches, over = [], 0, asyncio.Event()

    async def searching() -> None:
        nonlocal searches
        while not over.is_set():
            n = (searches * 37) % len(ids)
            found = await library.search(f"lighthouse number{n} ship{n}")
            if found[:1] != [ids[n]]:
                missed.append(n)
            searches += 1

    readers = [asyncio.create_task(searching()) for _ in range(2)]
    await library.want(LONG)

    async def flipped() -> bool:
        await library.reconcile(LONG_GRACE)
        await library.work()
        return (await library.models())[0] == LONG

    await until(flipped, within=120)
    after = searches
    await until(lambda: asyncio.sleep(0, searches >= after + 20))
    over.set()
    await asyncio.gather(*readers)
    assert missed == []
    assert searches > 20
    assert await library.vectors() == {USE_MODEL: 200, LONG: 200}


async def test_documents_that_come_meanwhile_have_both_models(library: Library) -> None:
    await stocked(library)
    await library.want(LONG)
    await library.upload(*bodies(1, first=7))
    await library.work()
    assert await library.vectors() == {USE_MODEL: 4, LONG: 1}
    await library.reconcile()
    await library.work()
    assert await library.progress() == switching.Progress(LONG, 4, 4, 0, None)


async def test_a_document_that_was_claimed_before_the_change_keeps_the_model_from_taking_over(library: Library) -> None:
    await library.upload(*bodies(1))
    await library.work(StepKind.PARSE)
    [command] = await library.commands(StepKind.VECTOR)
    encoding, go = asyncio.Event(), asyncio.Event()
    local = library.embedders[USE_MODEL]
    embed = local.embed

    async def slowly(texts: Sequence[str]) -> Any:
        encoding.set()
        await go.wait()
        return await embed(texts)

    local.embed = slowly  # type: ignore[method-assign]  # its worker is held up in the middle
    working = asyncio.create_task(attempt(library.worker, command))
    await encoding.wait()
    await library.want(SHORT)
    await library.reconcile()
    assert await library.models() == (USE_MODEL, SHORT, True)
    go.set()
    await working
    assert await library.vectors() == {USE_MODEL: 1}
    await library.reconcile()
    assert (await library.models())[0] == USE_MODEL
    await library.work()
    await library.reconcile()
    assert (await library.models())[0] == SHORT
    assert len(await library.search("number0")) == 1


async def test_a_failed_document_keeps_the_model_from_taking_over_and_says_why(library: Library) -> None:
    ids = await stocked(library)
    library.embedders[SHORT].failure = errors.UpstreamUnavailable("elsewhere does not answer; see its status page")
    await library.want(SHORT)
    await library.reconcile()
    await library.work()
    await library.reconcile()
    assert await library.models() == (USE_MODEL, SHORT, True)
    told = await library.progress()
    assert told == switching.Progress(SHORT, 0, 3, 3, "elsewhere does not answer; see its status page")
    assert (await library.search("number1"))[0] == ids[1]
    await library.reconcile()
    assert await library.commands(StepKind.PARSE) == [], "what failed of the change waits for a person"
    library.embedders[SHORT].failure = None
    for id_ in ids:
        async with library.engine.begin() as conn:
            await changes.rebuild(conn, id_, kinds=[StepKind.VECTOR], admission=ADMISSION)
    await library.work()
    await library.reconcile()
    assert (await library.models())[0] == SHORT


async def test_going_back_ends_the_change_and_leaves_nothing_of_it(library: Library) -> None:
    ids = await stocked(library)
    await library.want(SHORT)
    await library.reconcile()
    await library.work(StepKind.PARSE)
    [first, *_] = await library.commands(StepKind.VECTOR)
    await attempt(library.worker, first)
    await library.want(USE_MODEL)
    assert await library.progress() is None
    await library.work()
    await library.reconcile()
    assert await library.models() == (USE_MODEL, None, False)
    assert await library.vectors() == {USE_MODEL: 3}
    assert (await library.search("number2"))[0] == ids[2]
    await library.want(SHORT)
    assert await library.progress() == switching.Progress(SHORT, 0, 3, 0, None)  # what was removed is not done


async def test_going_back_heals_what_the_change_made_fail(library: Library) -> None:
    await stocked(library)
    library.embedders[SHORT].failure = errors.Terminal("no such key", code="KEY_REFUSED")
    await library.want(SHORT)
    await library.reconcile()
    await library.work()
    await library.want(USE_MODEL)
    await library.reconcile()
    await library.work()
    assert {row[0] for row in await library.rows("SELECT status FROM document")} == {"COMPLETE"}


async def test_a_document_that_never_could_be_read_keeps_nothing_back(library: Library) -> None:
    ids = await stocked(library)
    [lost] = await library.upload("its bytes are lost")
    [row] = await library.rows("SELECT object_path FROM document WHERE id = :id", id=lost)
    await library.objects.delete(row[0])
    await library.work()
    await library.want(LONG)
    await library.reconcile()
    await library.work()
    await library.reconcile()
    assert (await library.models())[0] == LONG
    assert (await library.search("number0"))[0] == ids[0]


async def test_a_deleted_document_is_not_waited_for(library: Library) -> None:
    ids = await stocked(library)
    await library.want(LONG)
    await library.reconcile()
    async with library.engine.begin() as conn:
        await changes.delete(conn, ids[0], first_due=ADMISSION.first_due)
    await library.work()
    await library.reconcile()
    assert (await library.models())[0] == LONG
    assert ids[0] not in await library.search("number0")


async def test_a_cancelled_task_of_the_change_is_begun_again(library: Library) -> None:
    await stocked(library, 1)
    await library.want(LONG)
    await library.reconcile()
    [(task, owner)] = await library.rows("SELECT id, owner FROM workflow WHERE status = 'RUNNING'")
    async with library.engine.begin() as conn:
        await cancel.cancel(conn, task, owner=owner, first_due=ADMISSION.first_due)
    await library.reconcile()
    assert (await library.models())[0] == USE_MODEL
    await library.work()
    await library.reconcile()
    assert (await library.models())[0] == LONG


async def test_a_rebuild_in_the_middle_makes_both_models_rows(library: Library) -> None:
    [id_] = await stocked(library, 1)
    await library.want(LONG)
    await library.reconcile()
    await library.work(StepKind.PARSE)
    async with library.engine.begin() as conn:
        change = await changes.rebuild(
            conn, id_, kinds=[StepKind.VECTOR], admission=ADMISSION, kind=WorkflowKind.REBUILD
        )
    assert change is not None
    await library.work()
    assert await library.vectors() == {USE_MODEL: 1, LONG: 1}


async def test_a_third_model_takes_the_place_of_the_wanted_one(library: Library) -> None:
    await stocked(library)
    await library.want(SHORT)
    await library.reconcile()
    await library.work()
    await library.want(LONG)
    for _ in range(4):
        await library.reconcile()
        await library.work()
    assert await library.models() == (LONG, None, False)
    assert await library.vectors() == {LONG: 3}


async def test_several_reconcilers_at_once_do_it_once(library: Library) -> None:
    await stocked(library, 6)
    await library.want(LONG)
    await asyncio.gather(*(library.reconcile() for _ in range(3)))
    [(generations,)] = await library.rows("SELECT array_agg(DISTINCT generation) FROM job WHERE kind = 'index.vector'")
    assert generations == [2]
    await library.work()
    await asyncio.gather(*(library.reconcile() for _ in range(3)))
    await asyncio.gather(*(library.reconcile() for _ in range(3)))
    assert await library.models() == (LONG, None, False)
    assert await library.vectors() == {LONG: 6}


async def test_old_rows_outlive_their_model_for_searches_that_began_before(library: Library) -> None:
    await stocked(library)
    await library.want(LONG)
    await library.reconcile(LONG_GRACE)
    await library.work()
    await library.reconcile(LONG_GRACE)
    await library.reconcile(LONG_GRACE)
    assert await library.models() == (LONG, None, True)
    assert await library.vectors() == {USE_MODEL: 3, LONG: 3}


async def test_an_empty_collection_changes_at_once(library: Library) -> None:
    await library.want(LONG)
    assert await library.progress() == switching.Progress(LONG, 0, 0, 0, None)
    await library.reconcile()
    assert (await library.models())[0] == LONG


async def test_a_deleted_collection_is_left_to_its_purge(library: Library) -> None:
    await stocked(library, 1)
    await library.want(LONG)
    [(owner,)] = await library.rows("SELECT owner FROM collection")
    async with library.engine.begin() as conn:
        await changes.purge_collection(conn, library.collection, owner, first_due=ADMISSION.first_due)
    await library.reconcile()
    assert await library.commands(StepKind.PARSE) == []
    assert (await library.models())[0] == USE_MODEL
