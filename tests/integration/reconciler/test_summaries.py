"""Summaries follow their documents: made, made again, and gone with what they tell of."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors, subjects
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.jobs.declared import COLLECTION_SUMMARY
from aperag_indexer.summarizing.handlers import MOST_DOCUMENTS, Summarize
from aperag_indexer.summarizing.leads import ExtractiveSummarizer
from aperag_reconciler.settings import SummarySettings
from aperag_reconciler.summaries.emit import Summaries
from aperag_testing.factories import make_collection
from aperag_testing.steps import Gate, attempt
from aperag_testing.waiting import until
from aperag_work import changes, summaries
from aperag_work.engine import Engine
from aperag_work.policy import WorkPolicy
from aperag_work.rows import Dispatch, JobRow, columns_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.delivery import Settlement
    from aperag_common.metrics import Metrics
    from aperag_indexer.summarizing.ports import CollectionExcerpt, Summarizer
    from aperag_testing.steps import Steps
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher

DUE = timedelta(seconds=60)
ENABLED = {"enable_summary": True}
AT_ONCE = SummarySettings(quiet=timedelta(0))
TEXT = "Oolong is a tea between green and black."


@pytest.fixture
def reconcile(engine: AsyncEngine, dispatcher: Dispatcher) -> Callable[..., Summaries]:
    def make(settings: SummarySettings = AT_ONCE) -> Summaries:
        return Summaries(engine, dispatcher, DUE, settings)

    return make


@pytest.fixture
def summarize(
    engine: AsyncEngine, job_database: Database, dispatcher: Dispatcher, metrics: Metrics
) -> Callable[[str, Summarizer], Awaitable[Settlement]]:
    """One attempt at the collection's summary, and what its message is told."""

    async def made_once(collection_id: str, summarizer: Summarizer = ExtractiveSummarizer()) -> Settlement:  # noqa: B008  # it has no state
        made = Summarize(summarizer, "indexer")
        worker = Engine(job_database, dispatcher, WorkPolicy(), metrics, "indexer", source="indexer")
        worker.handle(COLLECTION_SUMMARY, made.run, write=made.write, lock=made.lock)
        query = f"SELECT {columns_of('job')} FROM job WHERE kind = 'collection.summary' AND subject_id = :id"
        [row] = await rows(engine, query, id=collection_id)
        return await attempt(worker, Dispatch(JobRow(*row), "tests").message)

    return made_once


async def rows(engine: AsyncEngine, sql: str, **parameters: Any) -> list[Any]:
    async with engine.begin() as conn:
        result = await conn.execute(text(sql), parameters)
        return list(result.all()) if result.returns_rows else []


async def collection(engine: AsyncEngine, **values: Any) -> str:
    async with engine.begin() as conn:
        return await make_collection(conn, config=ENABLED, **values)


async def document(steps: Steps, collection_id: str, content: str = TEXT, **options: Any) -> str:
    """COMPLETE, with one chunk."""
    change = await steps.upload(collection_id=collection_id, body=content.encode(), **options)
    await steps.complete(change.document_id)
    await rows(
        steps.engine,
        """
        INSERT INTO chunk (id, document_id, collection_id, generation, ordinal, text, text_hash, details)
        VALUES (:d, :d, :c, 1, 0, :t, md5(:t), '{}')
        """,
        d=change.document_id, c=collection_id, t=content,
    )  # fmt: skip
    return change.document_id


async def summary(engine: AsyncEngine, collection_id: str) -> Any:
    """With its job."""
    query = """
        SELECT s.*, j.status, j.generation, j.observed_generation FROM collection_summary s
        JOIN job j ON j.subject_id = s.id AND j.kind = 'collection.summary' WHERE s.id = :id
    """
    found = await rows(engine, query, id=collection_id)
    return found[0] if found else None


async def description(engine: AsyncEngine, collection_id: str) -> str:
    return str(
        (await rows(engine, "SELECT description FROM collection WHERE id = :id", id=collection_id))[0].description
    )


class Waits:
    """A summarizer that a test lets go on."""

    def __init__(self) -> None:
        self.gate = Gate()

    async def summarize(self, collection: CollectionExcerpt) -> str:
        await self.gate()
        return f"{collection.documents} documents"


class Fails:
    async def summarize(self, _: CollectionExcerpt) -> str:
        raise errors.Gone("no model")


async def test_a_summary_becomes_the_description_and_an_event(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    collection_id = await collection(engine)
    await document(steps, collection_id, name="oolong.md")
    assert await reconcile().run() == 1
    assert await summarize(collection_id) == Ack(outcome="done")
    told = f"1 document, about: oolong.\n\n- {TEXT}"
    after = await summary(engine, collection_id)
    assert (after.status, after.summary, after.documents) == ("ACTIVE", told, 1)
    assert await description(engine, collection_id) == told
    events = await rows(engine, "SELECT payload FROM outbox WHERE payload->>'type' = 'collection.summarized'")
    assert [e.payload["data"] for e in events] == [{"collection_id": collection_id, "generation": 1, "documents": 1}]


async def test_a_second_generation_happens_when_documents_change(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    collection_id = await collection(engine)
    first = await document(steps, collection_id, name="oolong.md")
    await reconcile().run()
    await summarize(collection_id)
    assert await reconcile().run() == 0
    await document(steps, collection_id, "Sencha is a green tea from Japan, and it is steamed.", name="sencha.md")
    assert await reconcile().run() == 1
    await summarize(collection_id)
    after = await summary(engine, collection_id)
    assert (after.generation, after.observed_generation, after.documents) == (2, 2, 2)
    assert "Sencha" in await description(engine, collection_id)
    await steps.delete(first)
    assert await reconcile().run() == 1
    await summarize(collection_id)
    assert "Oolong" not in await description(engine, collection_id)
    assert await reconcile().run() == 0


async def test_documents_that_still_change_are_waited_for(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    collection_id = await collection(engine)
    await reconcile().run()
    await summarize(collection_id)
    await document(steps, collection_id)
    patient = reconcile(SummarySettings(quiet=timedelta(hours=1), longest=timedelta(hours=2)))
    assert await patient.run() == 0
    await rows(engine, "UPDATE document SET updated = updated - interval '1 hour'")
    assert await patient.run() == 1


async def test_several_reconcilers_order_each_summary_once(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    ids = [await collection(engine) for _ in range(3)]
    assert sum(await asyncio.gather(*(reconcile().run() for _ in range(4)))) == 3
    for collection_id in ids:
        await summarize(collection_id)
    await document(steps, ids[0])
    assert sum(await asyncio.gather(*(reconcile().run() for _ in range(4)))) == 1
    assert (await summary(engine, ids[0])).generation == 2


async def test_more_collections_than_a_page_are_all_seen(
    engine: AsyncEngine, reconcile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aperag_reconciler.summaries.emit.PAGE", 2)
    for _ in range(5):
        await collection(engine)
    assert await reconcile().run() == 5
    assert await reconcile().run() == 0


async def test_what_a_person_wrote_meanwhile_stays(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    collection_id = await collection(engine)
    await document(steps, collection_id)
    await reconcile().run()
    slow = Waits()
    working = asyncio.create_task(summarize(collection_id, slow))
    await slow.gate.until_reached()
    await rows(engine, "UPDATE collection SET description = 'my own words', updated = clock_timestamp()")
    slow.gate.open()
    assert await working == Ack(outcome="done")
    assert (await summary(engine, collection_id)).status == "ACTIVE"
    assert await description(engine, collection_id) == "my own words"


async def test_a_document_that_comes_while_a_summary_is_made_makes_another_one_due(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    collection_id = await collection(engine)
    await reconcile().run()
    slow = Waits()
    working = asyncio.create_task(summarize(collection_id, slow))
    await slow.gate.until_reached()
    await document(steps, collection_id)
    slow.gate.open()
    await working
    assert await reconcile().run() == 1


async def test_a_person_who_asks_while_a_summary_is_made_gets_another_one_after_it(
    engine: AsyncEngine, bus: Bus, reconcile: Any, summarize: Any
) -> None:
    collection_id = await collection(engine)
    await reconcile().run()
    slow = Waits()
    working = asyncio.create_task(summarize(collection_id, slow))
    await slow.gate.until_reached()

    async def asked() -> Any:
        async with engine.begin() as conn:
            return await summaries.follow(conn, collection_id, first_due=DUE, source="api")

    assert await asked() == (), "the completion of the attempt under way sends the next command"
    slow.gate.open()
    assert await working == Ack(outcome="done")
    after = await summary(engine, collection_id)
    assert (after.status, after.generation, after.observed_generation) == ("PENDING", 2, 1)
    assert await description(engine, collection_id) == "0 documents"

    async def sent() -> bool:
        last = await bus.js.get_last_msg(subjects.COMMANDS, subjects.SUMMARIZE_COLLECTION)
        return bool(json.loads(last.data or b"")["data"]["generation"] == 2)

    await until(sent)
    assert await summarize(collection_id) == Ack(outcome="done")
    [dispatch] = await asked()
    assert (dispatch.row.generation, dispatch.row.dispatch) == (3, 1)


async def test_no_row_outlives_its_wish(engine: AsyncEngine, reconcile: Any, summarize: Any) -> None:
    collection_id = await collection(engine)
    await reconcile().run()
    slow = Waits()
    working = asyncio.create_task(summarize(collection_id, slow))
    await slow.gate.until_reached()
    await rows(engine, "UPDATE collection SET config = '{}'")
    await reconcile().run()
    slow.gate.open()
    assert await working == Ack(outcome="superseded")
    assert await summary(engine, collection_id) is None
    assert await description(engine, collection_id) == ""


async def test_a_deleted_collections_summary_is_neither_made_nor_added(engine: AsyncEngine, reconcile: Any) -> None:
    collection_id = await collection(engine)
    await reconcile().run()
    owner = (await rows(engine, "SELECT owner FROM collection"))[0].owner
    async with engine.begin() as conn:
        await changes.purge_collection(conn, collection_id, owner, first_due=DUE)
    await reconcile().run()
    assert await summary(engine, collection_id) is None
    assert await reconcile().run() == 0


async def test_a_collection_that_became_empty_loses_our_text_but_not_a_persons(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    ours, theirs = await collection(engine), await collection(engine, description="about tea")
    gone = await document(steps, ours)
    await reconcile().run()
    for collection_id in (ours, theirs):
        await summarize(collection_id)
    assert await description(engine, theirs) == "about tea"
    await steps.delete(gone)
    await reconcile().run()
    await summarize(ours)
    assert await description(engine, ours) == ""


async def test_a_summary_that_failed_is_tried_again_only_when_documents_change(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    collection_id = await collection(engine)
    await document(steps, collection_id)
    await reconcile().run()
    assert await summarize(collection_id, Fails()) == Ack(outcome="failed")
    assert await reconcile().run() == 0
    await document(steps, collection_id, "Sencha is a green tea from Japan, and it is steamed.")
    assert await reconcile().run() == 1
    assert await summarize(collection_id) == Ack(outcome="done")
    assert [r.code for r in await rows(engine, "SELECT code FROM dead_letter")] == ["GONE"]


async def test_a_second_delivery_is_put_off_or_changes_nothing(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    collection_id = await collection(engine)
    await reconcile().run()
    slow = Waits()
    working = asyncio.create_task(summarize(collection_id, slow))
    await slow.gate.until_reached()
    assert isinstance(await summarize(collection_id), Nak)
    slow.gate.open()
    await working
    assert await summarize(collection_id) == Ack(outcome="settled")


async def test_of_many_documents_an_even_choice_is_told_in_a_stable_order(
    engine: AsyncEngine, steps: Steps, reconcile: Any, summarize: Any
) -> None:
    collection_id = await collection(engine)
    made = [await steps.upload(collection_id=collection_id, name=f"{n:03}.md") for n in range(MOST_DOCUMENTS * 3)]
    await rows(engine, "UPDATE document SET status = 'COMPLETE'")
    told: list[CollectionExcerpt] = []

    class Keeps:
        async def summarize(self, collection: CollectionExcerpt) -> str:
            told.append(collection)
            return "all"

    await reconcile().run()
    await summarize(collection_id, Keeps())
    [excerpt] = told
    assert excerpt.documents == len(made)
    assert [it.name for it in excerpt.sample] == [f"{n:03}.md" for n in range(0, len(made), 3)]
