"""Jobs that are under way or failed: whose they are, what they are found by, and what happens to all that match."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from tests.integration.api.test_dead_letters import given_up

from aperag_api.operations.jobs import repository, service
from aperag_api.operations.jobs.decide import Doing, Selection
from aperag_api.operations.jobs.schemas import JobState
from aperag_testing.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

Person = Any
Indexer = Any

ALL = "/admin/jobs"


@pytest.fixture
async def admin(make_person: Callable[..., Awaitable[Person]]) -> Person:
    return await make_person("admin")


@pytest.fixture
def steps(engine: AsyncEngine, indexer: Indexer) -> Steps:
    return Steps(engine, indexer.worker)


@pytest.fixture
async def collection(alice: Person) -> str:
    return str(await alice.collection())


async def found(person: Person, path: str = "/jobs", **query: Any) -> list[tuple[str, str, str | None]]:
    """Kind, state and document of each."""
    answer = await person.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["total"] >= len(body["items"])
    return [(it["kind"], it["state"], it["name"]) for it in body["items"]]


async def change(person: Person, doing: str, path: str = "/jobs", **body: Any) -> dict[str, Any]:
    answer = await person.http.post(f"{path}/{doing}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_what_ended_well_is_not_listed_and_what_failed_says_why(
    alice: Person, indexer: Indexer, steps: Steps, collection: str
) -> None:
    done = await alice.uploaded(collection, "done.txt", "tea")
    await indexer.settle(done["id"], "tea")
    await given_up(alice, steps, collection, "broken.txt")
    waiting = await alice.uploaded(collection, "new.txt", "tea")
    assert sorted(await found(alice)) == [
        ("fulltext", "blocked", "new.txt"),
        ("fulltext", "failed", "broken.txt"),
        ("parse", "failed", "broken.txt"),
        ("parse", "queued", "new.txt"),
        ("vector", "blocked", "new.txt"),
        ("vector", "failed", "broken.txt"),
    ]
    [job] = (await alice.http.get("/jobs", params={"kind": "parse", "state": "failed"})).json()["items"]
    assert (job["error_code"], job["error_message"]) == ("CORRUPT_DOCUMENT", "the text cannot be read")
    assert (job["owner"], job["collection_id"], job["failures"], job["removes"]) == (alice.id, collection, 1, False)
    [job] = (await alice.http.get("/jobs", params={"state": "queued"})).json()["items"]
    assert (job["task_id"], job["document_id"]) == (waiting["task_id"], waiting["id"])


async def test_jobs_are_found_by_what_they_are(alice: Person, mallory: Person, admin: Person, steps: Steps) -> None:
    first, second, theirs = await alice.collection(), await alice.collection(), await mallory.collection()
    await given_up(alice, steps, first, "a.txt")
    await alice.uploaded(second, "b.txt", "tea")
    await mallory.uploaded(theirs, "c.txt", "tea")
    assert {name for _, _, name in await found(alice)} == {"a.txt", "b.txt"}
    assert {name for _, _, name in await found(alice, collection_id=first)} == {"a.txt"}
    assert {name for _, _, name in await found(alice, code="CORRUPT_DOCUMENT")} == {"a.txt"}
    assert await found(alice, collection_id=theirs) == []
    assert {name for _, _, name in await found(alice, owner=mallory.id)} == {"a.txt", "b.txt"}, (
        "the filter is not theirs"
    )
    assert {name for _, _, name in await found(admin, ALL)} == {"a.txt", "b.txt", "c.txt"}
    assert await found(admin, ALL, owner=mallory.id, kind="parse", state="") == [("parse", "queued", "c.txt")]
    answer = await alice.http.get("/jobs", params={"page_size": 2, "page": 2})
    assert (len(answer.json()["items"]), answer.json()["total"]) == (2, 6)
    assert (await alice.http.get("/jobs", params={"kind": "nonsense"})).status_code == 400
    assert (await alice.http.get(ALL)).status_code == 403


async def test_all_matching_failed_jobs_are_counted_and_then_run_again(
    alice: Person, mallory: Person, steps: Steps, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST", 4)
    monkeypatch.setattr(service, "BATCH", 2)
    theirs = await mallory.collection()
    for number in range(3):
        await given_up(alice, steps, collection, f"{number}.txt")
    await given_up(mallory, steps, theirs, "theirs.txt")
    wanted = {"collection_id": collection}
    counted = await change(alice, "retry", dry_run=True, **wanted)
    assert counted == {"dry_run": True, "jobs": 9, "tasks": 3, "next": None}
    assert {state for _, state, _ in await found(alice)} == {"failed"}
    jobs, tasks, after = 0, 0, None
    while True:
        done = await change(alice, "retry", after=after, **wanted)
        jobs, tasks, after = jobs + done["jobs"], tasks + done["tasks"], done["next"]
        if after is None:
            break
    assert (jobs, tasks) == (9, 3)
    assert await found(alice, state="failed") == []
    assert {kind for kind, state, _ in await found(alice) if state != "failed"} == {"parse", "vector", "fulltext"}
    assert len(await found(mallory, state="failed")) == 3
    assert await change(alice, "retry", all=True) == {"dry_run": False, "jobs": 0, "tasks": 0, "next": None}


async def test_a_retry_marks_the_letters_of_what_it_runs_again(
    alice: Person, admin: Person, steps: Steps, collection: str
) -> None:
    await given_up(alice, steps, collection)
    await change(admin, "retry", ALL, kind="parse", owner=alice.id)
    [letter] = (await admin.http.get("/admin/dead-letters")).json()["items"]
    assert letter["outcome"] == "already_redriven"
    task = (await alice.http.get(f"/tasks/{letter['redriven_task_id']}")).json()
    assert (task["kind"], task["status"]) == ("redrive", "RUNNING")
    assert {step["kind"] for step in task["steps"]} == {"parse", "vector", "fulltext"}, "builds fell with their parse"


async def test_a_cancelled_document_is_run_again_though_no_letter_tells_of_it(alice: Person, collection: str) -> None:
    await alice.uploaded(collection, "a.txt", "tea")
    assert (await change(alice, "cancel", collection_id=collection))["tasks"] == 1
    assert {state for _, state, _ in await found(alice, code="CANCELLED")} == {"failed"}
    assert (await change(alice, "retry", code="CANCELLED"))["tasks"] == 1
    assert ("parse", "queued", "a.txt") in await found(alice)


async def test_tasks_of_matching_open_jobs_are_cancelled_but_no_delete_is(
    alice: Person, mallory: Person, collection: str
) -> None:
    theirs = await mallory.collection()
    tasks = [(await alice.uploaded(collection, f"{n}.txt", "tea"))["task_id"] for n in range(3)]
    other = await mallory.uploaded(theirs, "theirs.txt", "tea")
    gone = await alice.uploaded(collection, "gone.txt", "tea")
    assert (await alice.http.delete(f"/collections/{collection}/documents/{gone['id']}")).status_code == 200
    counted = await change(alice, "cancel", all=True, dry_run=True)
    assert (counted["jobs"], counted["tasks"]) == (9, 3)
    assert (await change(alice, "cancel", all=True))["tasks"] == 3
    states = [(await alice.http.get(f"/tasks/{task}")).json()["status"] for task in tasks]
    assert states == ["CANCELLED"] * 3
    assert (await mallory.http.get(f"/tasks/{other['task_id']}")).json()["status"] == "RUNNING"
    assert {state for _, state, name in await found(alice) if name == "gone.txt"} == {"queued"}


async def test_every_change_of_many_is_on_record(alice: Person, admin: Person, collection: str) -> None:
    await change(alice, "cancel", collection_id=collection)
    found = (await admin.http.get("/audit-logs", params={"api_name": "CancelJobs"})).json()["items"]
    assert [(it["resource_type"], it["user_id"]) for it in found] == [("job", alice.id)]


@pytest.mark.parametrize(
    ("doing", "body"),
    [
        ("retry", {}),
        ("cancel", {"dry_run": True}),
        ("retry", {"all": True, "kind": "parse"}),
        ("retry", {"state": "running"}),
        ("cancel", {"state": "failed"}),
        ("retry", {"kind": "turn"}),
        ("cancel", {"kind": "webhook.deliver"}),
        ("retry", {"kind": "nonsense"}),
    ],
)
async def test_a_request_that_names_no_jobs_or_such_as_it_is_not_for_is_refused(
    alice: Person, collection: str, doing: str, body: dict[str, Any]
) -> None:
    await alice.uploaded(collection, "a.txt", "tea")
    answer = await alice.http.post(f"/jobs/{doing}", json=body)
    assert answer.status_code == 400, answer.text
    assert {state for _, state, _ in await found(alice)} == {"queued", "blocked"}


@pytest.mark.parametrize("body", [{"kinds": "parse"}, {"owner": "user0"}, {"state": "nonsense"}])
async def test_a_filter_that_there_is_none_of_is_refused(alice: Person, body: dict[str, Any]) -> None:
    assert (await alice.http.post("/jobs/retry", json=body)).status_code == 422


SELECTIONS = [
    Selection(),
    Selection(owner="user1"),
    Selection(state=JobState.RUNNING, kind="parse"),
    Selection(state=JobState.FAILED, collection_id="col1"),
]


@pytest.mark.parametrize("selection", SELECTIONS)
async def test_jobs_that_ended_well_are_never_read(engine: AsyncEngine, selection: Selection) -> None:
    async with engine.begin() as conn:
        await conn.execute(
            text(
                """
                INSERT INTO job (id, kind, subject_id, owner, lane, wanted, status, due_at)
                SELECT 'job' || n, 'parse', 'doc' || n, 'user1', 'bulk', 'present', CASE WHEN n % 100 = 0 THEN 'FAILED' WHEN
                    n % 100 = 1 THEN 'PENDING' ELSE 'ACTIVE' END, 'infinity' FROM generate_series(1, 20000) n
                """
            )
        )
        await conn.execute(text("ANALYZE job"))
        for doing in (None, *Doing):
            if doing and selection.state in {JobState.FAILED, JobState.RUNNING}:
                continue
            source, values = repository._jobs(selection, doing)
            plan = (
                await conn.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM {source}"), values)
            ).scalar_one()
            read = list(scans(plan[0]["Plan"] if isinstance(plan, list) else json.loads(plan)[0]["Plan"]))
            assert read
            assert {it for it, _ in read} <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Bitmap Index Scan"}
            assert max(rows for _, rows in read) <= 200


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, int]]:
    if "Scan" in plan["Node Type"] and plan["Node Type"] != "Subquery Scan":
        yield plan["Node Type"], plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    for part in plan.get("Plans", ()):
        yield from scans(part)
