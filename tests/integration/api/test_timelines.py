"""Timelines over HTTP: each state that a document can wait in says why, for as long as the row is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.worker import ConsumerLoad
from aperag_testing.steps import Steps
from aperag_work.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_standalone.nats import NatsServer
    from aperag_work.engine import Engine

Person = Any
Indexer = Any

CONSUMERS = ("indexer-parse", "indexer-vector", "indexer-fulltext", "indexer-remove")


async def execute(engine: AsyncEngine, sql: str, **parameters: Any) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql), parameters)


async def timeline(person: Person, document: dict[str, Any], collection: str) -> dict[str, Any]:
    answer = await person.http.get(f"/collections/{collection}/documents/{document['id']}/timeline")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture
async def collection(alice: Person) -> str:
    return str(await alice.collection())


@pytest.fixture
async def document(alice: Person, collection: str) -> dict[str, Any]:
    return dict(await alice.uploaded(collection, "a.txt", "tea"))


@pytest.fixture
async def staffed(engine: AsyncEngine) -> None:
    """An indexer and a reconciler that were seen just now."""
    loads = [ConsumerLoad(name, 8, 1) for name in CONSUMERS]
    await Heartbeat(engine, "indexer", "indexer-1", lambda: loads).beat()
    await Heartbeat(engine, "reconciler", "reconciler-1", list).beat()


@pytest.fixture
def steps(engine: AsyncEngine, make_worker: Callable[[str], Engine]) -> Steps:
    return Steps(engine, make_worker("indexer-2"))


async def fail(steps: Steps, document_id: str, failure: Exception) -> None:
    async def during(_: object) -> None:
        raise failure

    await steps.work(await steps.command(document_id), during=during)


def stage(told: dict[str, Any], kind: str = "parse") -> dict[str, Any]:
    return next(it for it in told["stages"] if it["kind"] == kind)


@pytest.mark.usefixtures("staffed")
async def test_a_new_document_waits_for_a_worker_and_its_builds_for_the_parse(
    alice: Person, collection: str, document: dict[str, Any]
) -> None:
    told = await timeline(alice, document, collection)
    assert [it["kind"] for it in told["stages"]] == ["parse", "fulltext", "vector"]
    assert (stage(told)["reason"], stage(told, "vector")["reason"]) == ("queued", "waits_for_parse")
    assert (stage(told)["queue"]["workers"], stage(told)["queue"]["free_slots"]) == (1, 7)
    assert (told["settled"], told["tasks"][0]["id"], told["dead_letters"]) == (False, document["task_id"], None)
    assert told["summary"].startswith("parsing waits for a free worker")


async def test_a_missing_indexer_is_named(alice: Person, collection: str, document: dict[str, Any]) -> None:
    told = await timeline(alice, document, collection)
    assert (stage(told)["reason"], told["summary"]) == ("no_worker", "parsing waits, and no indexer is there")


@pytest.mark.usefixtures("staffed")
@pytest.mark.parametrize("settings", [{"work": {"in_flight_per_owner": 1}}], indirect=True)
async def test_a_document_that_waits_for_its_turn_knows_its_place(
    alice: Person, mallory: Person, collection: str
) -> None:
    documents = [await alice.uploaded(collection, f"{n}.txt", "tea") for n in range(4)]
    theirs = await mallory.collection()
    for n in range(2):
        await mallory.uploaded(theirs, f"{n}.txt", "tea")
    told = await timeline(alice, documents[2], collection)
    assert stage(told)["reason"] == "waits_for_turn"
    assert stage(told)["turn"] == {"position": 2, "waiting": 3, "in_flight": 1, "limit": 1, "owners_waiting": 2}
    assert told["summary"] == "waits for its turn: 2nd of 3"


@pytest.mark.usefixtures("staffed")
async def test_work_under_way_names_its_worker_and_its_attempt(
    alice: Person, collection: str, document: dict[str, Any], steps: Steps
) -> None:
    told: dict[str, Any] = {}

    async def during(_: object) -> None:
        told.update(await timeline(alice, document, collection))

    await steps.work(await steps.command(document["id"]), during=during)
    parse = stage(told)
    assert (parse["reason"], parse["worker"], parse["attempt"], parse["max_attempts"]) == (
        "working",
        "indexer-2",
        1,
        12,
    )
    assert parse["started"] is not None
    assert parse["ended"] is None
    assert "on indexer-2, attempt 1 of 12" in told["summary"]
    after = await timeline(alice, document, collection)
    assert (stage(after)["reason"], stage(after)["worker"]) == ("done", "indexer-2")
    assert stage(after)["seconds"] >= 0
    assert stage(after, "vector")["reason"] == "queued"


@pytest.mark.usefixtures("staffed")
async def test_a_retry_tells_what_failed_and_when_it_is_tried_again(
    alice: Person, collection: str, document: dict[str, Any], steps: Steps, engine: AsyncEngine
) -> None:
    await fail(steps, document["id"], errors.UpstreamUnavailable("the object store does not answer"))
    later = "UPDATE job SET failed_attempts = jsonb_set(failed_attempts, '{0,next_try_at}', to_jsonb(clock_timestamp() + interval '1 h')) WHERE kind = 'parse'"
    await execute(engine, later)
    told = await timeline(alice, document, collection)
    parse = stage(told)
    assert (parse["reason"], parse["failures"], parse["max_failures"]) == ("retry", 1, 4)
    assert parse["next_try_at"] == parse["next_at"] == parse["failed_attempts"][0]["next_try_at"]
    assert parse["failed_attempts"][0]["worker"] == "indexer-2"
    assert "the object store does not answer" in parse["why"]
    assert "failure 1 of 4" in told["summary"]


@pytest.mark.usefixtures("staffed")
async def test_a_lost_worker_is_named_with_the_time_it_counts_as_lost_from(
    alice: Person, collection: str, document: dict[str, Any], engine: AsyncEngine
) -> None:
    lost = "UPDATE job SET status = 'CREATING', attempt = 1, lease_token = 't', lease_owner = 'indexer-9', worker = 'indexer-9', lease_until = clock_timestamp() - interval '1 s' WHERE kind = 'parse'"
    await execute(engine, lost)
    told = await timeline(alice, document, collection)
    assert stage(told)["reason"] == "worker_lost"
    assert "lost its worker indexer-9" in told["summary"]


@pytest.mark.usefixtures("staffed")
async def test_a_command_that_nobody_took_is_overdue(
    alice: Person, collection: str, document: dict[str, Any], engine: AsyncEngine
) -> None:
    await execute(engine, "UPDATE job SET due_at = clock_timestamp() - interval '1 s' WHERE kind = 'parse'")
    assert stage(await timeline(alice, document, collection))["reason"] == "overdue"


@pytest.mark.usefixtures("staffed")
async def test_a_document_is_told_of_without_nats(
    alice: Person, collection: str, document: dict[str, Any], nats_server: NatsServer
) -> None:
    nats_server.kill()
    told = await timeline(alice, document, collection)
    assert (stage(told)["reason"], stage(told)["queue"]["commands"]) == ("nats_away", None)


async def test_a_failure_is_told_with_its_dead_letter_to_administrators_only(
    alice: Person,
    make_person: Callable[..., Awaitable[Person]],
    collection: str,
    document: dict[str, Any],
    steps: Steps,
) -> None:
    await fail(steps, document["id"], errors.UnsupportedMedia("nothing reads this"))
    told = await timeline(alice, document, collection)
    assert (stage(told)["reason"], stage(told)["error_code"]) == ("failed", "UNSUPPORTED_MEDIA")
    assert (told["summary"], told["settled"]) == ("parsing failed: UNSUPPORTED_MEDIA: nothing reads this", True)
    assert told["dead_letters"] is None
    admin = await make_person("admin")
    assert len((await timeline(admin, document, collection))["dead_letters"]) == 1


async def test_a_searchable_document_says_since_when_and_in_which_trace_to_look(
    alice: Person, collection: str, document: dict[str, Any], indexer: Indexer
) -> None:
    await indexer.settle(document["id"], "tea")
    told = await timeline(alice, document, collection)
    assert told["summary"].startswith("searchable since ")
    assert (told["settled"], {it["reason"] for it in told["stages"]}) == (True, {"done"})
    assert told["traces"]


@pytest.mark.parametrize("settings", [{"otel_enabled": True}], indirect=True)
async def test_each_stage_names_its_trace_and_where_to_read_it(
    alice: Person, collection: str, document: dict[str, Any]
) -> None:
    told = await timeline(alice, document, collection)
    traces = {it["trace_id"] for it in (*told["stages"], *told["tasks"])}
    assert len(traces) == 1
    assert None not in traces
    assert told["traces"] == "/api/v1/traces/{trace_id}"


async def test_a_deleted_document_is_told_of_while_its_tombstone_is_there(
    alice: Person, collection: str, document: dict[str, Any], engine: AsyncEngine, steps: Steps
) -> None:
    path = f"/collections/{collection}/documents/{document['id']}"
    assert (await alice.http.delete(path)).status_code == 200
    told = await timeline(alice, document, collection)
    assert told["status"] == "DELETED"
    assert {it["action"] for it in told["stages"]} == {"remove"}
    await steps.complete(document["id"], "vector", "fulltext", "parse")
    told = await timeline(alice, document, collection)
    assert (told["summary"], told["settled"]) == ("deleted; all of it has been removed", True)
    assert {(it["state"], it["reason"]) for it in told["stages"]} == {("REMOVED", "done")}
    await execute(engine, "DELETE FROM document WHERE id = :id", id=document["id"])
    assert (await alice.http.get(f"{path}/timeline")).status_code == 404


async def test_an_unconfirmed_upload_says_so(alice: Person, collection: str) -> None:
    answer = await alice.http.post(f"/collections/{collection}/documents/upload", files={"file": ("b.txt", b"b")})
    told = await timeline(alice, {"id": answer.json()["document_id"]}, collection)
    assert (told["summary"], told["stages"]) == ("waits for the confirmation of its upload", [])


async def test_another_owners_document_has_no_timeline(
    mallory: Person, collection: str, document: dict[str, Any]
) -> None:
    path = f"/collections/{collection}/documents/{document['id']}/timeline"
    assert (await mallory.http.get(path)).status_code == 404


async def test_a_row_that_contradicts_itself_is_told_as_it_stands(
    alice: Person, collection: str, document: dict[str, Any], engine: AsyncEngine
) -> None:
    broken = "UPDATE job SET status = 'SOMETHING', due_at = 'infinity', failed_attempts = '[7, {\"attempt\": \"x\", \"ended\": 3}]'"
    await execute(engine, broken)
    told = await timeline(alice, document, collection)
    assert {it["reason"] for it in told["stages"]} == {"unknown"}
