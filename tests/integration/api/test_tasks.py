"""Tasks and traces over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus

Person = Any
Indexer = Any


async def test_a_task_shows_each_step_on_its_way(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    path = f"/tasks/{document['task_id']}"
    await indexer.settle(document["id"], "tea", kinds=("parse",))
    running = (await alice.http.get(path)).json()
    outcomes = {step["kind"]: (step["outcome"], step["status"]) for step in running["steps"]}
    assert running["status"] == "RUNNING"
    assert outcomes == {
        "parse": ("done", "ACTIVE"),
        "vector": ("open", "PENDING"),
        "fulltext": ("open", "PENDING"),
    }
    assert running["steps"][0]["attempt"] == 1
    await indexer.settle(document["id"], "tea")
    ended = (await alice.http.get(path)).json()
    assert (ended["status"], ended["finished"] is not None) == ("SUCCESS", True)


async def test_a_waiting_document_knows_how_many_are_before_it(alice: Person, engine: AsyncEngine) -> None:
    collection = await alice.collection()
    documents = [await alice.uploaded(collection, f"{n}.txt", "tea") for n in range(3)]
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE job SET dispatch = 0"))
    tasks = [(await alice.http.get(f"/tasks/{document['task_id']}")).json() for document in documents]
    assert [task["steps"][0]["position"] for task in tasks] == [0, 1, 2]


async def test_a_cancelled_task_ends_at_once_and_its_worker_is_told(alice: Person, mallory: Person, bus: Bus) -> None:
    told = await bus.nc.subscribe("aperag.live.task.*.cancel")
    await bus.nc.flush()
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    path = f"/tasks/{document['task_id']}/cancel"
    assert (await mallory.http.post(path)).status_code == 404
    answer = await alice.http.post(path)
    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    assert (await told.next_msg(timeout=5)).subject == f"aperag.live.task.{document['task_id']}.cancel"
    state = (await alice.http.get(f"/collections/{collection}/documents/{document['id']}")).json()
    assert (state["status"], state["vector_index_status"]) == ("FAILED", "FAILED")


async def test_a_task_that_succeeded_first_cannot_be_cancelled(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    await indexer.settle(document["id"], "tea")
    answer = await alice.http.post(f"/tasks/{document['task_id']}/cancel")
    assert (answer.status_code, answer.json()["error_code"]) == (409, "CONFLICT")
    assert answer.json()["details"]["task"]["status"] == "SUCCESS"


async def test_another_owners_task_does_not_exist(alice: Person, mallory: Person) -> None:
    document = await alice.uploaded(await alice.collection(), "a.txt", "tea")
    assert (await mallory.http.get(f"/tasks/{document['task_id']}")).status_code == 404
    assert (await alice.http.get("/tasks/wfunknown")).status_code == 404


@pytest.mark.parametrize("settings", [{"otel_enabled": True}], indirect=True)
async def test_a_trace_is_read_by_its_owner_and_admins_only(
    alice: Person, mallory: Person, make_person: Callable[..., Awaitable[Person]], runtime: Any
) -> None:
    runtime.telemetry.attach_bus(runtime.bus.nc)
    document = await alice.uploaded(await alice.collection(), "a.txt", "tea")
    trace_id = (await alice.http.get(f"/tasks/{document['task_id']}")).json()["trace_id"]
    names: set[str] = set()
    async with asyncio.timeout(10):
        while not any("POST" in name for name in names) or not any("publish" in name for name in names):
            await asyncio.to_thread(runtime.telemetry.provider.force_flush)
            answer = await alice.http.get(f"/traces/{trace_id}")
            names = {span["name"] for span in answer.json()["spans"]} if answer.status_code == 200 else set()
    assert "publish aperag.cmd.document.parse" in names
    assert (await mallory.http.get(f"/traces/{trace_id}")).status_code == 404
    # Whoever knows the id can enter the trace, but not read it by that.
    joined = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    files = {"files": ("b.txt", b"coffee")}
    path = f"/collections/{await mallory.collection()}/documents"
    assert (await mallory.http.post(path, files=files, headers=joined)).status_code == 200
    assert (await mallory.http.get(f"/traces/{trace_id}")).status_code == 404
    admin = await make_person("admin")
    assert (await admin.http.get(f"/traces/{trace_id}")).status_code == 200
    assert (await admin.http.get(f"/traces/{'0' * 32}")).status_code == 404
    assert (await admin.http.get("/traces/*")).status_code == 404
