"""Asking for a collection's summary, and what making or changing a collection does to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import subjects
from aperag_common.jobs.declared import COLLECTION_SUMMARY
from aperag_testing.steps import attempt
from aperag_testing.waiting import until
from aperag_work.completion import Completion
from aperag_work.rows import Dispatch, JobRow, columns_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_work.engine import Engine
    from aperag_work.job import Job

Person = Any

ON: dict[str, Any] = {"enable_summary": True}


async def rows(engine: AsyncEngine, sql: str, **parameters: Any) -> list[Any]:
    async with engine.begin() as conn:
        result = await conn.execute(text(sql), parameters)
        return list(result.all()) if result.returns_rows else []


async def summaries(engine: AsyncEngine) -> list[tuple[str, int]]:
    query = "SELECT j.status, j.generation FROM collection_summary s JOIN job j ON j.subject_id = s.id"
    return [(it.status, it.generation) for it in await rows(engine, query)]


async def generate(person: Person, collection_id: str) -> dict[str, Any]:
    answer = await person.http.post(f"/collections/{collection_id}/summary/generate")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def put(person: Person, collection_id: str, **config: Any) -> None:
    body = {"title": "Tea", "description": "mine", "config": config}
    answer = await person.http.put(f"/collections/{collection_id}", json=body)
    assert answer.status_code == 200, answer.text


async def is_in(engine: AsyncEngine, status: str) -> None:
    await rows(engine, "UPDATE job SET status = :status", status=status)


async def jobs(engine: AsyncEngine) -> int:
    return len(await rows(engine, "SELECT 1 FROM job WHERE kind = 'collection.summary'"))


async def test_a_collection_that_wants_a_summary_orders_one_at_once(
    alice: Person, engine: AsyncEngine, bus: Bus
) -> None:
    await alice.collection(**ON)
    assert await summaries(engine) == [("PENDING", 1)]

    async def published() -> bool:
        found = await bus.js.stream_info(subjects.COMMANDS, subjects_filter=subjects.SUMMARIZE_COLLECTION)
        return found.state.subjects == {subjects.SUMMARIZE_COLLECTION: 1}

    await until(published)


async def test_a_collection_without_summaries_has_no_row_and_is_refused(alice: Person, engine: AsyncEngine) -> None:
    collection_id = await alice.collection()
    told = await generate(alice, collection_id)
    assert (told["collection_id"], told["success"], told["summary_status"]) == (collection_id, False, "GENERATING")
    assert "enable_summary" in told["message"]
    assert await summaries(engine) == []


@pytest.mark.parametrize("status", ["PENDING", "ACTIVE", "FAILED"])
async def test_a_new_summary_may_be_ordered_in_any_state_but_generating(
    alice: Person, engine: AsyncEngine, status: str
) -> None:
    collection_id = await alice.collection(**ON)
    await is_in(engine, status)
    told = await generate(alice, collection_id)
    assert (told["success"], told["summary_status"]) == (True, "PENDING")
    assert await summaries(engine) == [("PENDING", 2)]


async def test_while_one_is_made_no_other_is_begun_and_one_more_is_made_after_it(
    alice: Person, engine: AsyncEngine, make_worker: Callable[[str], Engine], bus: Bus
) -> None:
    collection_id = await alice.collection(**ON)
    asked: list[dict[str, Any]] = []

    async def run(_: Job) -> Completion:
        asked.append(await generate(alice, collection_id))
        await put(alice, collection_id, **ON)
        assert await summaries(engine) == [("CREATING", 3)]
        return Completion()

    worker = make_worker("tests")
    worker.handle(COLLECTION_SUMMARY, run)
    async with engine.connect() as conn:
        row = (await conn.execute(text(f"SELECT {columns_of('job')} FROM job"))).one()
    await attempt(worker, Dispatch(JobRow(*row), "tests").message)
    [told] = asked
    assert (told["success"], told["summary_status"]) == (False, "GENERATING")
    assert "already" in told["message"]
    assert await summaries(engine) == [("PENDING", 3)]

    async def published() -> bool:
        found = await bus.js.stream_info(subjects.COMMANDS, subjects_filter=subjects.SUMMARIZE_COLLECTION)
        return found.state.subjects == {subjects.SUMMARIZE_COLLECTION: 2}

    await until(published)


async def test_asking_many_times_at_once_is_no_error(alice: Person, engine: AsyncEngine) -> None:
    collection_id = await alice.collection(**ON)
    told = await asyncio.gather(*(generate(alice, collection_id) for _ in range(5)))
    assert [it["success"] for it in told] == [True] * 5
    assert await summaries(engine) == [("PENDING", 6)]


async def test_a_changed_collection_renews_adds_or_drops_its_summary(alice: Person, engine: AsyncEngine) -> None:
    collection_id = await alice.collection()
    await put(alice, collection_id, **ON)
    assert await summaries(engine) == [("PENDING", 1)]
    await is_in(engine, "ACTIVE")
    await put(alice, collection_id, **ON)
    assert await summaries(engine) == [("PENDING", 2)]
    await put(alice, collection_id, enable_summary=False)
    assert await summaries(engine) == []
    assert await jobs(engine) == 0


async def test_a_deleted_collections_summary_goes_with_it(alice: Person, engine: AsyncEngine) -> None:
    collection_id = await alice.collection(**ON)
    assert (await alice.http.delete(f"/collections/{collection_id}")).status_code == 200
    assert await summaries(engine) == []
    assert await jobs(engine) == 0
    assert (await alice.http.post(f"/collections/{collection_id}/summary/generate")).status_code == 404


async def test_nobody_orders_a_summary_of_anothers_collection(
    alice: Person, mallory: Person, engine: AsyncEngine
) -> None:
    collection_id = await alice.collection(**ON)
    assert (await mallory.http.post(f"/collections/{collection_id}/summary/generate")).status_code == 404
    assert await summaries(engine) == [("PENDING", 1)]
