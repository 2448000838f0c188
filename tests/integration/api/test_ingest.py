"""Events of other services over NATS: documents made, replaced and deleted by their sender's own keys."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from tests.integration.api.ingesting import SOURCE, Sender, working

from aperag_common.events.ingest import UPSERT
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_api.edge.settings import Settings
    from aperag_common.bus.connection import Bus
    from aperag_work.runtime import Runtime

Person = Any

EARLY, LATE, LATER = (f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3))


@pytest_asyncio.fixture
async def sender(
    bus: Bus, engine: AsyncEngine, runtime: Runtime, settings: Settings, gateway: Gateway, alice: Person
) -> AsyncIterator[Sender]:
    async with working(runtime, settings, gateway):
        yield Sender(bus, engine, alice.id, await alice.collection(), alice.http)


async def test_an_event_makes_a_document_and_its_end_is_told(sender: Sender, indexer: Any) -> None:
    data = {"name": "녹차.md", "content": "# 녹차", "metadata": {"space": "tea"}}
    id_ = await sender.send(UPSERT, "page/7", data)
    told = await sender.settled(id_)
    assert (told["status"], told["outcome"], told["subject"]) == ("COMPLETED", "created", "page/7")
    [document] = await sender.documents()
    assert (document["id"], document["name"], document["metadata"]) == (
        told["document_id"],
        "녹차.md",
        {"space": "tea"},
    )
    assert document["task_id"] == told["task_id"]
    assert await sender.content(document["id"]) == "# 녹차".encode()
    [fact] = await sender.facts()
    assert (fact["type"], fact["owner"], fact["causeid"]) == ("ingest.completed", sender.owner, told["task_id"])
    assert fact["data"] == {
        "source": SOURCE,
        "id": id_,
        "subject": "page/7",
        "collection_id": sender.collection,
        "outcome": "created",
        "document_id": document["id"],
        "workflow_id": told["task_id"],
        "code": None,
        "message": None,
    }
    await indexer.settle(document["id"], "tea")
    [document] = await sender.documents()
    assert document["status"] == "COMPLETE"


async def test_a_binary_event_brings_the_document_itself(sender: Sender) -> None:
    await sender.binary("b 1", "녹차/tea.md", b"# Tea", "text/markdown")
    told = await sender.settled("b 1")
    [document] = await sender.documents()
    assert (told["subject"], document["name"]) == ("녹차/tea.md", "tea.md")
    assert await sender.content(document["id"]) == b"# Tea"


async def test_wanted_indexes_are_those_that_the_collection_has(sender: Sender) -> None:
    id_ = await sender.send(UPSERT, "a.txt", {"content": "x", "index_types": ["fulltext", "graph"]})
    await sender.settled(id_)
    [document] = await sender.documents()
    assert (document["vector_index_status"], document["fulltext_index_status"]) == ("SKIPPED", "PENDING")


async def test_the_same_event_counts_once_however_often_it_comes(sender: Sender) -> None:
    await asyncio.gather(*(sender.upsert("a.md", "one", id="same") for _ in range(8)))
    first = await sender.settled("same")
    await sender.upsert("a.md", "other bytes under a known id", id="same")
    await sender.upsert("b.md", "x", id="next")
    await sender.settled("next")
    assert await sender.settled("same") == first
    assert sorted(document["name"] for document in await sender.documents()) == ["a.md", "b.md"]
    assert len(await sender.facts()) == 2
    assert await sender.content(first["document_id"]) == b"one"


async def test_two_tenants_may_use_the_same_source_and_id(
    sender: Sender, bus: Bus, engine: AsyncEngine, mallory: Person
) -> None:
    other = Sender(bus, engine, mallory.id, await mallory.collection(), mallory.http)
    await asyncio.gather(sender.upsert("a.md", "hers", id="1"), other.upsert("a.md", "his", id="1"))
    hers, his = await sender.settled("1"), await other.settled("1")
    assert hers["document_id"] != his["document_id"]
    assert await sender.content(hers["document_id"]) == b"hers"
    assert await other.content(his["document_id"]) == b"his"


async def test_other_bytes_replace_the_document_and_are_indexed_again(
    sender: Sender, indexer: Any, settings: Settings
) -> None:
    made = await sender.settled(await sender.upsert("a.md", "one"))
    await indexer.settle(made["document_id"], "one")
    told = await sender.settled(await sender.send(UPSERT, "a.md", {"name": "b.txt", "content": "two"}))
    assert (told["outcome"], told["document_id"]) == ("replaced", made["document_id"])
    [document] = await sender.documents()
    assert (document["name"], document["size"], document["status"]) == ("b.txt", 3, "PENDING")
    assert document["task_id"] == told["task_id"] != made["task_id"]
    jobs = await sender.rows("SELECT kind, generation FROM job WHERE subject_id = :id", id=made["document_id"])
    assert {row.kind: row.generation for row in jobs} == {"parse": 2, "index.vector": 2, "index.fulltext": 2}
    assert await sender.content(made["document_id"]) == b"two"

    async def one_is_left() -> bool:
        return sum(path.is_file() for path in settings.objects.directory.rglob("*")) == 1

    await until(one_is_left, every=0.02)


async def test_indexes_that_are_no_longer_wanted_are_built_of_the_new_bytes_too(sender: Sender) -> None:
    made = await sender.settled(await sender.upsert("a.md", "one"))
    await sender.settled(await sender.send(UPSERT, "a.md", {"content": "two", "index_types": ["fulltext"]}))
    jobs = await sender.rows("SELECT kind, generation FROM job WHERE subject_id = :id", id=made["document_id"])
    assert {row.kind: row.generation for row in jobs}["index.vector"] == 2


async def test_unchanged_bytes_are_not_indexed_again(sender: Sender) -> None:
    made = await sender.settled(await sender.upsert("a.md", "one"))
    told = await sender.settled(await sender.send(UPSERT, "a.md", {"content": "one", "metadata": {"seen": 2}}))
    assert (told["outcome"], told["document_id"], told["task_id"]) == ("unchanged", made["document_id"], None)
    [document] = await sender.documents()
    assert (document["task_id"], document["metadata"]) == (made["task_id"], {"seen": 2})


async def test_the_newest_event_wins_in_whatever_order_they_come(sender: Sender) -> None:
    await sender.settled(await sender.upsert("a.md", "late", time=LATE))
    assert await sender.outcome(await sender.upsert("a.md", "early", time=EARLY)) == "superseded"
    assert await sender.outcome(await sender.delete("a.md", time=EARLY)) == "superseded"
    [document] = await sender.documents()
    assert await sender.content(document["id"]) == b"late"
    assert await sender.outcome(await sender.upsert("a.md", "second of one moment", time=LATE)) == "replaced"
    assert await sender.outcome(await sender.upsert("a.md", "later", time=LATER)) == "replaced"
    assert await sender.content(document["id"]) == b"later"


async def test_many_events_of_one_document_leave_the_newest(sender: Sender) -> None:
    times = [f"2026-01-01T00:00:{second:02}Z" for second in range(16)]
    order = [(7 * number) % 16 for number in range(16)]
    ids = [await sender.upsert("a.md", f"at {number}", time=times[number]) for number in order]
    outcomes = [await sender.outcome(id_) for id_ in ids]
    assert set(outcomes) <= {"created", "replaced", "superseded"}
    assert outcomes.count("created") == 1
    [document] = await sender.documents()
    assert await sender.content(document["id"]) == b"at 15"


async def test_a_late_upsert_does_not_revive_what_was_deleted(sender: Sender) -> None:
    await sender.settled(await sender.upsert("a.md", "one", time=EARLY))
    assert await sender.outcome(await sender.delete("a.md", time=LATER)) == "deleted"
    assert await sender.outcome(await sender.upsert("a.md", "two", time=LATE)) == "superseded"
    assert await sender.documents() == []
    assert await sender.outcome(await sender.delete("never.md", time=LATE)) == "absent"
    assert await sender.outcome(await sender.upsert("never.md", "x", time=EARLY)) == "superseded"
    assert await sender.documents() == []


async def test_the_version_outlives_the_row_of_its_document(sender: Sender, engine: AsyncEngine) -> None:
    made = await sender.settled(await sender.upsert("a.md", "one", time=EARLY))
    await sender.settled(await sender.delete("a.md", time=LATE))
    async with engine.begin() as conn:
        await conn.exec_driver_sql(f"DELETE FROM document WHERE id = '{made['document_id']}'")
    assert await sender.outcome(await sender.upsert("a.md", "two", time=EARLY)) == "superseded"
    assert await sender.outcome(await sender.upsert("a.md", "new", time=LATER)) == "created"


async def test_a_document_that_a_person_deleted_is_made_anew_by_a_newer_event(sender: Sender, alice: Person) -> None:
    made = await sender.settled(await sender.upsert("a.md", "one"))
    await alice.http.delete(f"/collections/{sender.collection}/documents/{made['document_id']}")
    told = await sender.settled(await sender.upsert("a.md", "one"))
    assert told["outcome"] == "created"
    assert told["document_id"] != made["document_id"]


POISON: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"\xff", "INVALID_EVENT"),
    "no event": (b"{}", "INVALID_EVENT"),
    "another type": (
        json.dumps({"specversion": "1.0", "id": "p", "source": "s", "type": "t"}).encode(),
        "UNKNOWN_EVENT_TYPE",
    ),
}


@pytest.mark.parametrize("what", POISON)
async def test_poison_is_kept_as_a_dead_letter_and_holds_up_nobody(sender: Sender, what: str) -> None:
    body, code = POISON[what]
    await sender.publish(None, body)
    assert (await sender.settled(await sender.upsert("good.md", "x")))["outcome"] == "created"
    [letter] = await sender.rows("SELECT owner, collection_id, consumer, code, message FROM dead_letter")
    assert (letter.owner, letter.collection_id, letter.consumer) == (sender.owner, sender.collection, "api-ingest")
    assert letter.code == code
    assert letter.message
    [refused, _] = await sender.facts()
    assert (refused["type"], refused["data"]["code"]) == ("ingest.failed", code)


@pytest.mark.parametrize(
    ("data", "more", "code"),
    [
        ({"content": "x" * (512 * 1024 + 1)}, {}, "CONTENT_TOO_LARGE"),
        ({"content": "x"}, {"time": "2999-01-01T00:00:00Z"}, "TIME_IN_FUTURE"),
        ({"content": "x", "name": "a.exe"}, {}, "INVALID_NAME"),
        ({"reference": "s3://bucket/key"}, {}, "REFERENCE_UNSUPPORTED"),
        ({}, {}, "INVALID_EVENT"),
    ],
)
async def test_a_refused_event_can_be_looked_up(
    sender: Sender, data: dict[str, Any], more: dict[str, str], code: str
) -> None:
    id_ = await sender.send(UPSERT, "a.md", data, **more)
    told = await sender.settled(id_)
    assert (told["status"], told["code"], told["subject"]) == ("FAILED", code, "a.md")
    assert told["settled"]
    assert await sender.documents() == []
    await sender.send(UPSERT, "a.md", {"content": "good"}, id=id_)
    await sender.settled(await sender.upsert("b.md", "x"))
    assert (await sender.look(id_))["code"] == code
    assert len(await sender.rows("SELECT id FROM dead_letter")) == 1


async def test_a_missing_subject_is_refused(sender: Sender) -> None:
    assert await sender.outcome(await sender.send(UPSERT, None, {"content": "x"})) == "SUBJECT_MISSING"


async def test_what_cannot_be_carried_out_ends_with_a_code_and_a_dead_letter(
    sender: Sender, mallory: Person, alice: Person
) -> None:
    foreign = replace(sender, collection=await mallory.collection())
    assert await sender.outcome(await foreign.upsert("a.md", "x", id="foreign")) == "COLLECTION_NOT_FOUND"
    unknown = replace(sender, collection="col0123456789abcdef")
    assert await sender.outcome(await unknown.upsert("a.md", "x", id="unknown")) == "COLLECTION_NOT_FOUND"
    await alice.uploaded(sender.collection, "taken.md", "by hand")
    assert await sender.outcome(await sender.upsert("taken.md", "x", id="name")) == "DOCUMENT_NAME_CONFLICT"
    assert await sender.outcome(await sender.upsert("free.md", "x", id="good")) == "created"
    letters = await sender.rows("SELECT kind, code, owner, row_id FROM dead_letter ORDER BY created")
    assert [(it.kind, it.code) for it in letters] == [
        ("ingest", "COLLECTION_NOT_FOUND"),
        ("ingest", "COLLECTION_NOT_FOUND"),
        ("ingest", "DOCUMENT_NAME_CONFLICT"),
    ]
    assert {it.owner for it in letters} == {sender.owner}
    failed = [fact["data"]["id"] for fact in await sender.facts() if fact["type"] == "ingest.failed"]
    assert failed == ["foreign", "unknown", "name"]


@pytest.mark.parametrize("settings", [{"max_document_count": 1}], indirect=True)
async def test_a_quota_counts_for_events_too(sender: Sender) -> None:
    assert await sender.outcome(await sender.upsert("a.md", "x")) == "created"
    assert await sender.outcome(await sender.upsert("b.md", "x")) == "DOCUMENT_QUOTA_EXCEEDED"
    assert await sender.outcome(await sender.upsert("a.md", "y")) == "replaced"


async def test_who_may_only_read_changes_nothing_by_events(
    sender: Sender, bus: Bus, engine: AsyncEngine, make_person: Callable[..., Awaitable[Person]]
) -> None:
    reader = await make_person()
    collection = await reader.collection()
    theirs = Sender(bus, engine, reader.id, collection, reader.http)
    async with engine.begin() as conn:
        await conn.exec_driver_sql(f"UPDATE users SET role = 'ro' WHERE id = '{reader.id}'")
    assert await theirs.outcome(await theirs.upsert("a.md", "x")) == "FORBIDDEN"
    gone = replace(theirs, owner="user0123456789abcdef", http=sender.http)
    await gone.upsert("a.md", "x", id="of nobody")

    async def told() -> list[Any]:
        return await sender.rows("SELECT code FROM ingest_event WHERE event_id = 'of nobody' AND status = 'FAILED'")

    [row] = await until(told, every=0.02)
    assert row.code == "FORBIDDEN"
