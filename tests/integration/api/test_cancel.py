"""Cancelling all that is done for a document or a collection, over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_api.knowledge.cancellation import service
from aperag_common import subjects
from aperag_common.bus.delivery import Ack
from aperag_common.settings import WorkSettings
from aperag_testing.waiting import until
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive
from aperag_work.release import FairRelease

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.delivery import Settlement
    from aperag_work.database import Connection, Database
    from aperag_work.dispatcher import Dispatcher

Person = Any
Indexer = Any


async def column(engine: AsyncEngine, sql: str, **parameters: Any) -> list[Any]:
    async with engine.connect() as conn:
        return list((await conn.execute(text(sql), parameters)).scalars())


async def outcomes(engine: AsyncEngine) -> dict[str, str]:
    """How tasks ended, as events tell it; a task that ended twice fails the test."""
    query = "SELECT payload->'data' FROM outbox WHERE payload->'data' ? 'outcome' AND payload->'data'->>'outcome' IS NOT NULL"
    told = [(data["workflow_id"], data["outcome"]) for data in await column(engine, query)]
    assert len(dict(told)) == len(told)
    return dict(told)


async def test_all_tasks_of_a_document_end_at_once_and_their_workers_are_told(
    alice: Person, indexer: Indexer, engine: AsyncEngine, bus: Bus
) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    path = f"/collections/{collection}/documents/{document['id']}"
    await indexer.settle(document["id"], "tea", kinds=("parse",))
    rebuilt = (await alice.http.post(f"{path}/rebuild_indexes", json={"index_types": ["VECTOR"]})).json()
    tasks = {document["task_id"], rebuilt["task_id"]}
    told = await bus.nc.subscribe(subjects.ALL_TASK_CANCELS)
    await bus.nc.flush()
    answer = await alice.http.post(f"{path}/cancel")
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["task_ids"]) == tasks
    shown = answer.json()["document"]
    assert (shown["status"], shown["vector_index_status"], shown["error_code"]) == ("FAILED", "FAILED", "CANCELLED")
    assert {subjects.parse_cancel_task((await told.next_msg(timeout=30)).subject) for _ in tasks} == tasks
    for task in tasks:
        state = (await alice.http.get(f"/tasks/{task}")).json()
        assert (state["status"], state["finished"] is not None) == ("CANCELLED", True)
    assert await outcomes(engine) == dict.fromkeys(tasks, "CANCELLED")
    assert (await alice.http.get(path)).json() == shown


async def test_what_was_served_before_a_cancelled_rebuild_is_served_again(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    path = f"/collections/{collection}/documents/{document['id']}"
    await indexer.settle(document["id"], "tea")
    await alice.http.post(f"{path}/rebuild_indexes", json={"index_types": ["VECTOR", "FULLTEXT"]})
    shown = (await alice.http.post(f"{path}/cancel")).json()["document"]
    assert (shown["status"], shown["vector_index_status"], shown["error_code"]) == ("COMPLETE", "ACTIVE", None)
    search = {"query": "tea", "fulltext_search": {}}
    found = (await alice.http.post(f"/collections/{collection}/searches", json=search)).json()
    assert [hit["source"] for hit in found["items"]] == ["a.txt"]


async def test_a_document_whose_tasks_have_ended_cannot_be_cancelled(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    await indexer.settle(document["id"], "tea")
    answer = await alice.http.post(f"/collections/{collection}/documents/{document['id']}/cancel")
    assert (answer.status_code, answer.json()["error_code"]) == (409, "CONFLICT")
    assert answer.json()["details"]["document"]["status"] == "COMPLETE"


async def test_a_deleted_document_and_those_of_others_are_not_found(
    alice: Person, mallory: Person, engine: AsyncEngine
) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    path = f"/collections/{collection}/documents/{document['id']}"
    assert (await mallory.http.post(f"{path}/cancel")).status_code == 404
    assert (await mallory.http.post(f"/collections/{collection}/cancel")).status_code == 404
    assert await outcomes(engine) == {}
    assert (await alice.http.delete(path)).status_code == 200
    assert (await alice.http.post(f"{path}/cancel")).status_code == 404
    assert (await alice.http.post(f"/collections/{collection}/cancel")).json()["cancelled_tasks"] == 0
    assert await column(engine, "SELECT status FROM workflow WHERE kind = 'delete'") == ["RUNNING"]


async def test_a_collection_is_cancelled_in_batches_and_what_has_ended_stays(
    alice: Person, indexer: Indexer, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH", 2)
    collection, other = await alice.collection(), await alice.collection()
    done = await alice.uploaded(collection, "done.txt", "tea")
    await indexer.settle(done["id"], "tea")
    elsewhere = await alice.uploaded(other, "elsewhere.txt", "tea")
    running = [await alice.uploaded(collection, f"{n}.txt", "tea") for n in range(5)]
    answer = await alice.http.post(f"/collections/{collection}/cancel")
    assert (answer.status_code, answer.json()) == (
        200,
        {"collection_id": collection, "cancelled_tasks": 5, "affected_documents": 5},
    )
    listed = (await alice.http.get(f"/collections/{collection}/documents")).json()["items"]
    assert {document["id"]: document["status"] for document in listed} == {
        done["id"]: "COMPLETE",
        **{document["id"]: "FAILED" for document in running},
    }
    cancelled = {document["task_id"]: "CANCELLED" for document in running}
    assert await outcomes(engine) == {done["task_id"]: "SUCCESS", **cancelled}
    assert (await alice.http.get(f"/tasks/{elsewhere['task_id']}")).json()["status"] == "RUNNING"
    again = await alice.http.post(f"/collections/{collection}/cancel")
    assert (again.status_code, again.json()["cancelled_tasks"]) == (200, 0)


@pytest.mark.parametrize("settings", [{"work": WorkSettings(in_flight_per_owner=1)}], indirect=True)
async def test_a_cancelled_document_leaves_nothing_and_its_slot_goes_to_the_next_without_a_timer(
    alice: Person, indexer: Indexer, engine: AsyncEngine, job_database: Database, bus: Bus, dispatcher: Dispatcher
) -> None:
    release = FairRelease(job_database, dispatcher, WorkPolicy(), in_flight_per_owner=1)

    async def on_wake(_: Msg) -> None:
        await release.run()

    async def on_cancel(message: Msg) -> None:
        indexer.worker.cancel_task(subjects.parse_cancel_task(message.subject))

    await bus.nc.subscribe(subjects.wake("reconciler"), cb=on_wake)
    await bus.nc.subscribe(subjects.ALL_TASK_CANCELS, cb=on_cancel)
    await bus.nc.flush()
    collection = await alice.collection()
    first = await alice.uploaded(collection, "first.txt", "tea")
    second = await alice.uploaded(collection, "second.txt", "tea")

    async def next_ones() -> list[str]:
        return await published(bus)

    assert await until(next_ones) == [first["id"]]
    working = asyncio.create_task(endless(indexer, first["id"]))
    await until(lambda: held(indexer))
    answer = await alice.http.post(f"/collections/{collection}/documents/{first['id']}/cancel")
    assert answer.json()["document"]["status"] == "FAILED"
    assert await working == Ack(outcome="superseded")
    assert await until(next_ones) == [second["id"]]
    await assert_nothing_of(engine, first["id"])
    await let_all_be_due(engine)
    assert await Redrive(job_database, dispatcher, WorkPolicy()).run() == 1  # the second one alone
    assert await published(bus) == [second["id"]]


async def endless(indexer: Indexer, document_id: str) -> Settlement:
    """A worker that would go on for ever, and write a chunk at the end."""
    dispatch = await indexer.steps.dispatch(document_id)

    async def during(_: object) -> None:
        await asyncio.Event().wait()

    async def ending(conn: Connection) -> None:
        await indexer.write_chunk(conn, dispatch.row, "late")

    settlement: Settlement = await indexer.steps.work(dispatch.message, during=during, ending=ending)
    return settlement


async def held(indexer: Indexer) -> bool:
    return bool(indexer.worker.held)


async def assert_nothing_of(engine: AsyncEngine, document_id: str) -> None:
    assert await column(engine, "SELECT id FROM chunk WHERE document_id = :id", id=document_id) == []
    leases = "SELECT lease_token FROM job WHERE subject_id = :id AND lease_token IS NOT NULL"
    assert await column(engine, leases, id=document_id) == []


async def let_all_be_due(engine: AsyncEngine) -> None:
    """Whatever could be published again is."""
    async with engine.begin() as conn:
        await conn.execute(
            text("UPDATE job SET due_at = clock_timestamp() WHERE kind = 'parse' AND due_at < 'infinity'")
        )


async def published(bus: Bus) -> list[str]:
    """Documents of the parse commands that wait, which are taken."""
    info = await bus.js.stream_info(subjects.COMMANDS, subjects_filter=subjects.PARSE_DOCUMENT)
    stored = sum((info.state.subjects or {}).values())
    if not stored:
        return []
    subscription = await bus.js.pull_subscribe_bind("indexer-parse", subjects.COMMANDS)
    messages = await subscription.fetch(stored, timeout=30)
    for message in messages:
        await message.ack_sync(timeout=30)
    await subscription.unsubscribe()
    return [json.loads(message.data)["data"]["document_id"] for message in messages]
