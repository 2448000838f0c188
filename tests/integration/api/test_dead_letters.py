"""What operators see of dead letters, and what they can do about them; nobody else can."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_api.operations.dead_letters import service
from aperag_common import errors, subjects
from aperag_testing.refusals import DETAIL, Attack, unrefused
from aperag_testing.steps import Steps
from aperag_testing.waiting import until
from aperag_work import requeue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus

Person = Any
Indexer = Any

LETTERS = "/admin/dead-letters"


@pytest.fixture
async def admin(make_person: Callable[..., Awaitable[Person]]) -> Person:
    return await make_person("admin")


@pytest.fixture
def steps(engine: AsyncEngine, indexer: Indexer) -> Steps:
    return Steps(engine, indexer.worker)


async def broken(_: object) -> None:
    message = "the text cannot be read"
    raise errors.CorruptDocument(message)


async def given_up(alice: Person, steps: Steps, collection: str, name: str = "tea.txt") -> str:
    """A document whose parse ended FAILED with a dead letter."""
    document = await alice.uploaded(collection, name, "tea")
    await steps.work(await steps.command(document["id"]), during=broken)
    return str(document["id"])


@pytest.fixture
async def collection(alice: Person) -> str:
    return str(await alice.collection())


async def found(admin: Person, **query: Any) -> list[dict[str, Any]]:
    answer = await admin.http.get(LETTERS, params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def redrive(admin: Person, **body: Any) -> dict[str, Any]:
    answer = await admin.http.post(f"{LETTERS}/redrive", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def purge(admin: Person, **body: Any) -> int:
    answer = await admin.http.post(f"{LETTERS}/purge", json=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["purged"])


async def write_letters(engine: AsyncEngine, count: int, **columns: str) -> None:
    """Letters of messages that were no commands, a second apart, the newest a minute old."""
    names = "".join(f", {name}" for name in columns)
    values = "".join(f", {value}" for value in columns.values())
    async with engine.begin() as conn:
        await conn.execute(
            text(
                f"""
                INSERT INTO dead_letter (id, consumer, subject, attempt, code, message, payload, headers, created{names})
                SELECT gen_random_uuid(), 'indexer-parse', 's', 1, 'INVALID_MESSAGE', 'm' || n, '{{}}', '{{}}',
                    clock_timestamp() - interval '1 min' - n * interval '1 s'{values}
                FROM generate_series(1, :count) AS n
                """
            ),
            {"count": count},
        )


async def test_a_letter_says_what_was_given_up_and_that_it_can_be_run_again(
    admin: Person, alice: Person, steps: Steps, collection: str
) -> None:
    document = await given_up(alice, steps, collection)
    [letter] = await found(admin)
    assert (letter["code"], letter["message"]) == ("CORRUPT_DOCUMENT", "the text cannot be read")
    assert (letter["step"], letter["attempt"], letter["failures"], letter["worker"]) == ("parse", 1, 1, "tests")
    assert (letter["owner"], letter["collection_id"], letter["document_id"]) == (alice.id, collection, document)
    assert (letter["document_name"], letter["redriven_at"]) == ("tea.txt", None)
    assert (letter["redrivable"], letter["outcome"]) == (True, "redriven")


async def test_one_letter_holds_everything_that_is_known_of_it(
    admin: Person, alice: Person, steps: Steps, collection: str
) -> None:
    document = await given_up(alice, steps, collection)
    [listed] = await found(admin)
    letter = (await admin.http.get(f"{LETTERS}/{listed['id']}")).json()
    assert {name: letter[name] for name in listed} == listed
    assert letter["document"] == {"id": document, "name": "tea.txt", "status": "FAILED", "deleted": False}
    row = letter["row"]
    assert (row["status"], row["generation"], row["error_code"]) == ("FAILED", 1, "CORRUPT_DOCUMENT")
    assert [attempt["code"] for attempt in row["failed_attempts"]] == ["CORRUPT_DOCUMENT"]
    task = (await alice.http.get(f"/tasks/{letter['task_id']}")).json()
    assert (task["document_id"], task["status"]) == (document, "FAILED")


async def test_a_letter_outlives_its_document(
    admin: Person, alice: Person, steps: Steps, collection: str, engine: AsyncEngine
) -> None:
    document = await given_up(alice, steps, collection)
    async with engine.begin() as conn:
        await conn.execute(text("DELETE FROM document WHERE id = :d"), {"d": document})
    [listed] = await found(admin)
    letter = (await admin.http.get(f"{LETTERS}/{listed['id']}")).json()
    assert (letter["document"], letter["row"], letter["document_id"]) == (None, None, document)
    assert (letter["redrivable"], letter["outcome"]) == (False, "gone")
    assert "deleted or gone" in letter["reason"]


async def test_letters_are_found_by_what_they_are_about(
    admin: Person, alice: Person, mallory: Person, steps: Steps, collection: str, engine: AsyncEngine
) -> None:
    document = await given_up(alice, steps, collection, "a.txt")
    other = await mallory.collection()
    await given_up(mallory, steps, other, "b.txt")
    await write_letters(engine, 1, kind="'collection.purge'", redriven_at="now()")
    [old] = await found(admin, redriven=True)
    assert (old["step"], old["document_name"]) == ("collection.purge", None)
    both = ["b.txt", "a.txt"]
    for query, names in (
        ({}, [*both, None]),
        ({"redriven": False}, both),
        ({"code": "CORRUPT_DOCUMENT"}, both),
        ({"code": "CORRUPT_DOCUMENT", "owner": alice.id}, ["a.txt"]),
        ({"step": "parse"}, both),
        ({"step": "vector"}, []),
        ({"collection_id": other}, ["b.txt"]),
        ({"document_id": document}, ["a.txt"]),
        ({"since": old["created"]}, [*both, None]),
        ({"until": old["created"]}, []),
        ({"owner": "nobody"}, []),
    ):
        assert [it["document_name"] for it in await found(admin, **query)] == names, query


async def test_letters_come_in_pages_newest_first(admin: Person, engine: AsyncEngine) -> None:
    await write_letters(engine, 5)
    answer = (await admin.http.get(LETTERS, params={"page": 2, "page_size": 2})).json()
    assert [it["message"] for it in answer["items"]] == ["m3", "m4"]
    assert {name: answer[name] for name in ("total", "page", "page_size", "total_pages", "has_next", "has_prev")} == {
        "total": 5, "page": 2, "page_size": 2, "total_pages": 3, "has_next": True, "has_prev": True}  # fmt: skip


async def test_a_redriven_document_is_searchable_in_the_end_and_its_task_says_so(
    admin: Person, alice: Person, steps: Steps, collection: str
) -> None:
    document = await given_up(alice, steps, collection)
    [letter] = await found(admin)
    told = await redrive(admin, ids=[letter["id"]])
    [task] = told["task_ids"]
    assert (told["letters"], told["outcomes"], told["tasks"], told["next"]) == (1, {"redriven": 1}, 1, None)
    assert [(it["id"], it["outcome"], it["task_id"]) for it in told["results"]] == [(letter["id"], "redriven", task)]
    running = (await alice.http.get(f"/tasks/{task}")).json()
    assert (running["kind"], running["status"], running["document_id"]) == ("redrive", "RUNNING", document)
    await steps.complete(document)
    assert (await alice.http.get(f"/tasks/{task}")).json()["status"] == "SUCCESS"
    assert (await alice.http.get(f"/collections/{collection}/documents/{document}")).json()["status"] == "COMPLETE"
    [kept] = await found(admin)
    assert (kept["redriven_task_id"], kept["redrivable"], kept["outcome"]) == (task, False, "already_redriven")


async def test_a_redrive_publishes_its_command(
    admin: Person, alice: Person, steps: Steps, collection: str, bus: Bus
) -> None:
    await given_up(alice, steps, collection)

    async def parses() -> int:
        info = await bus.js.stream_info(subjects.COMMANDS, subjects_filter=subjects.PARSE_DOCUMENT)
        return int((info.state.subjects or {}).get(subjects.PARSE_DOCUMENT, 0))

    async def uploads() -> bool:
        return await parses() == 1

    async def redriven() -> bool:
        return await parses() == 2

    await until(uploads)
    await redrive(admin, all=True)
    await until(redriven)


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    admin: Person, alice: Person, steps: Steps, collection: str, engine: AsyncEngine
) -> None:
    document = await given_up(alice, steps, collection)
    await write_letters(engine, 2)
    told = await redrive(admin, all=True, dry_run=True)
    assert (told["dry_run"], told["outcomes"]) == (True, {"redriven": 1, "no_command": 2})
    assert (told["tasks"], told["task_ids"]) == (0, [])
    assert (await steps.statuses(document))["parse"] == "FAILED"
    assert [it["redriven_at"] for it in await found(admin)] == [None] * 3


async def test_letters_are_redriven_by_what_they_are_about(
    admin: Person, alice: Person, mallory: Person, steps: Steps, collection: str
) -> None:
    mine = await given_up(alice, steps, collection)
    theirs = await given_up(mallory, steps, await mallory.collection())
    assert (await redrive(admin, collection_id=collection, code="CORRUPT_DOCUMENT"))["outcomes"] == {"redriven": 1}
    assert ((await steps.statuses(mine))["parse"], (await steps.statuses(theirs))["parse"]) == ("PENDING", "FAILED")
    assert (await redrive(admin, step="vector"))["letters"] == 0
    assert (await redrive(admin, step="parse"))["outcomes"] == {"redriven": 1}


async def test_an_unknown_letter_is_told_beside_the_others(
    admin: Person, alice: Person, steps: Steps, collection: str
) -> None:
    await given_up(alice, steps, collection)
    [letter] = await found(admin)
    unknown = str(uuid.uuid4())
    told = await redrive(admin, ids=[unknown, letter["id"], unknown])
    assert told["outcomes"] == {"unknown": 1, "redriven": 1}


async def test_very_many_are_redriven_in_parts_that_end(
    admin: Person, alice: Person, steps: Steps, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of letters that its own redrives leave behind, a redrive of all takes no notice; else it might never end."""
    monkeypatch.setattr(service, "MOST", 3)
    monkeypatch.setattr(service, "BATCH", 2)
    documents = [await given_up(alice, steps, collection, f"{n}.txt") for n in range(7)]
    told = await redrive(admin, all=True)
    counts = [told["letters"]]
    while told["next"]:
        await steps.work(await steps.command(documents[0]), during=broken)  # fails again at once
        told = await redrive(admin, all=True, after=told["next"])
        counts.append(told["letters"])
    assert counts == [3, 3, 1]
    assert (await steps.statuses(documents[0]))["parse"] == "FAILED"
    assert {(await steps.statuses(document))["parse"] for document in documents[1:]} == {"PENDING"}
    assert (await redrive(admin, all=True))["outcomes"] == {"redriven": 1}


@pytest.mark.parametrize("settings", [{"interactive_documents": 2}], indirect=True)
async def test_many_letters_are_bulk_work(admin: Person, alice: Person, steps: Steps, collection: str) -> None:
    for n in range(3):
        await given_up(alice, steps, collection, f"{n}.txt")
    [first, *_] = await found(admin)
    lane = "SELECT DISTINCT lane FROM job WHERE generation = 2"
    await redrive(admin, ids=[first["id"]])
    assert await steps.column(lane) == ["interactive"]
    for n in range(3, 5):
        await given_up(alice, steps, collection, f"{n}.txt")
    await redrive(admin, all=True)
    assert sorted(await steps.column(lane)) == ["bulk", "interactive"]


async def test_one_letter_is_deleted_once(admin: Person, engine: AsyncEngine) -> None:
    await write_letters(engine, 2)
    first, second = await found(admin)
    assert (await admin.http.delete(f"{LETTERS}/{first['id']}")).json() == {"purged": 1}
    assert (await admin.http.delete(f"{LETTERS}/{first['id']}")).status_code == 404
    assert [it["id"] for it in await found(admin)] == [second["id"]]


async def test_letters_are_purged_by_what_they_are_about(
    admin: Person, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PURGED_AT_ONCE", 2)
    await write_letters(engine, 5)
    await write_letters(engine, 3, redriven_at="clock_timestamp()", kind="'vector'")
    newest = (await found(admin, redriven=False))[0]
    assert await purge(admin, ids=[newest["id"], str(uuid.uuid4())]) == 1
    assert await purge(admin, older_than="P1D") == 0
    assert await purge(admin, redriven=True, step="parse") == 0
    assert await purge(admin, redriven=True) == 3
    assert [it["message"] for it in await found(admin)] == ["m2", "m3", "m4", "m5"]
    assert await purge(admin, older_than=10, until=newest["created"]) == 4
    await write_letters(engine, 3)
    assert await purge(admin, all=True) == 3
    assert await found(admin) == []


async def test_nobody_but_an_administrator_reaches_them(
    alice: Person, make_person: Callable[..., Awaitable[Person]], engine: AsyncEngine
) -> None:
    await write_letters(engine, 1)
    reader = await make_person("ro")
    id_ = str((await Steps(engine, None).column("SELECT id FROM dead_letter"))[0])  # type: ignore[arg-type]
    attacks = [
        Attack(f"{method} {path}", method, LETTERS + path, 403, DETAIL, request)
        for method, path, request in (
            ("GET", "", {}),
            ("GET", f"/{id_}", {}),
            ("DELETE", f"/{id_}", {}),
            ("POST", "/redrive", {"json": {"all": True}}),
            ("POST", "/purge", {"json": {"all": True}}),
        )
    ]
    for person in (alice, reader):
        assert await unrefused(person.http, attacks) == []
    assert len(await Steps(engine, None).column("SELECT id FROM dead_letter")) == 1  # type: ignore[arg-type]


UNCLEAR: dict[str, dict[str, Any]] = {
    "nothing": {},
    "not all": {"all": False},
    "only a mode": {"dry_run": True},
    "ids and all": {"ids": [str(uuid.uuid4())], "all": True},
    "all and a filter": {"all": True, "code": "BUSY"},
    "ids and a filter": {"ids": [str(uuid.uuid4())], "step": "parse"},
}
INVALID: dict[str, dict[str, Any]] = {
    "no ids": {"ids": []},
    "no uuid": {"ids": ["x"]},
    "too many ids": {"ids": [str(uuid.uuid4())] * 1001},
    "a misspelt filter": {"all": True, "cod": "BUSY"},
    "an empty filter": {"code": ""},
    "a long filter": {"code": "c" * 65},
    "a time without its zone": {"since": "2026-01-01T00:00:00"},
    "another type": {"all": "perhaps"},
}


async def test_a_request_that_does_not_say_which_letters_is_refused(admin: Person, engine: AsyncEngine) -> None:
    await write_letters(engine, 2)
    attacks = [
        Attack(f"{path} {what}", "POST", f"{LETTERS}{path}", status, code, {"json": body})
        for path in ("/redrive", "/purge")
        for bodies, status, code in ((UNCLEAR, 400, "INVALID_PARAMETER"), (INVALID, 422, DETAIL))
        for what, body in bodies.items()
        if (path, what) != ("/purge", "only a mode")
    ]
    attacks += [
        Attack("negative age", "POST", f"{LETTERS}/purge", 422, DETAIL, {"json": {"older_than": -1}}),
        Attack("endless age", "POST", f"{LETTERS}/purge", 422, DETAIL, {"json": {"older_than": "P999999D"}}),
        *(
            Attack(
                after, "POST", f"{LETTERS}/redrive", 400, "INVALID_PARAMETER", {"json": {"all": True, "after": after}}
            )
            for after in ("x", "a/b/c", "2026-01-01T00:00:00/2026-01-01T00:00:00/" + str(uuid.uuid4()))
        ),
        *(
            Attack(query, "GET", f"{LETTERS}?{query}", 422, DETAIL)
            for query in ("page=0", "page_size=101", "redriven=perhaps", "since=yesterday", "step=" + "x" * 65)
        ),
        Attack("NUL", "GET", f"{LETTERS}?code=a%00b", 400, "VALIDATION_ERROR"),
    ]
    assert await unrefused(admin.http, attacks) == []
    assert len(await found(admin)) == 2


async def test_a_letter_that_is_not_there_is_not_found(admin: Person) -> None:
    for id_ in (str(uuid.uuid4()), "0" * 32, "x", "%00", "%FF%FE", "'%20OR%201=1--", "x" * 3000):
        for method in ("GET", "DELETE"):
            answer = await admin.http.request(method, f"{LETTERS}/{id_}")
            assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_NOT_FOUND"), id_


async def test_a_redrive_that_broke_off_is_completed_by_asking_again(
    admin: Person, alice: Person, steps: Steps, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH", 2)
    documents = [await given_up(alice, steps, collection, f"{n}.txt") for n in range(5)]
    whole, asked = requeue.requeue, []

    async def breaks(conn: Any, ids: Any, admission: Any) -> requeue.Requeued:
        asked.append(ids)
        requeued = await whole(conn, ids, admission)
        if len(asked) == 2:
            raise ConnectionResetError
        return requeued

    monkeypatch.setattr(requeue, "requeue", breaks)
    assert (await admin.http.post(f"{LETTERS}/redrive", json={"all": True})).status_code == 500
    assert (await redrive(admin, all=True))["outcomes"] == {"redriven": 3}
    generations = "SELECT generation FROM job WHERE kind = 'parse' AND subject_id = ANY(:ids)"
    assert await steps.column(generations, ids=documents) == [2] * 5
    assert (await redrive(admin, all=True))["letters"] == 0
