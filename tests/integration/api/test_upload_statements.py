"""What an upload asks of the database, and that its short way accepts nothing that the long one would not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from aperag_work.database import Statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from sqlalchemy.ext.asyncio import AsyncEngine

Person = Any
AFTER_THE_ANSWER = {"read the epoch", "mark events as relayed"}
MANY = 50
QUOTA = {"max_document_count": 3, "max_document_count_per_collection": 3}


@pytest.fixture
def asked(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Statements of requests, in their order; ``COMMIT`` stands for itself."""
    seen: list[str] = []
    fetch = Statement.fetch

    async def noted(statement: Statement, *arguments: Any) -> Any:
        if statement.name not in AFTER_THE_ANSWER:
            seen.append(statement.name)
        return await fetch(statement, *arguments)

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(" ".join(statement.split()))

    monkeypatch.setattr(Statement, "fetch", noted)
    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine.sync_engine, "before_cursor_execute", note)


@pytest.fixture
def transactions(engine: AsyncEngine) -> Iterator[list[str]]:
    """Those that SQLAlchemy commits beside single statements."""
    seen: list[str] = []

    def note(connection: Any) -> None:
        if connection.get_isolation_level() != "AUTOCOMMIT":
            seen.append("COMMIT")

    event.listen(engine.sync_engine, "commit", note)
    yield seen
    event.remove(engine.sync_engine, "commit", note)


async def documents(engine: AsyncEngine, collection: str) -> list[tuple[str, str]]:
    query = text("SELECT name, status FROM document WHERE collection_id = :id ORDER BY name")
    async with engine.connect() as conn:
        return [(row.name, row.status) for row in await conn.execute(query, {"id": collection})]


def one(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (item,) = answer.json()["items"]
    return dict(item)


REMEMBERED = {"remembered_for": 5, "max_documents_per_request": MANY}


@pytest.mark.parametrize("settings", [REMEMBERED], indirect=True)
@pytest.mark.parametrize(("number", "most"), [(1, 3), (MANY, 5)])
async def test_an_upload_is_three_statements_and_one_transaction(
    alice: Person, asked: list[str], transactions: list[str], number: int, most: int
) -> None:
    collection = await alice.collection()
    # The first one counts what there is, and makes the gateway know key and collection.
    await alice.uploaded(collection, "first.txt", "first")
    asked.clear()
    transactions.clear()
    answer = await alice.upload(collection, *((f"{it}.txt", f"tea {it}") for it in range(number)))
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["items"]) == number
    assert asked[1] == "accept an upload"
    assert ["INSERT INTO audit_log" in it for it in asked] == [True, False, True]
    assert len(asked) <= most
    assert transactions == []


async def test_the_short_way_answers_as_the_document_is_read(alice: Person, asked: list[str]) -> None:
    collection = await alice.collection(enable_vector=True, enable_fulltext=False)
    await alice.uploaded(collection, "first.txt", "first")
    asked.clear()
    uploaded = await alice.uploaded(collection, "second.txt", "tea")
    assert "accept an upload" in asked
    read = await alice.http.get(f"/collections/{collection}/documents/{uploaded['id']}")
    assert read.json() == uploaded


async def test_the_same_file_again_is_the_same_document(alice: Person, engine: AsyncEngine) -> None:
    collection = await alice.collection()
    first = [await alice.uploaded(collection, name, name) for name in ("a.txt", "b.txt")]
    again = await alice.uploaded(collection, "b.txt", "b.txt")
    assert again["id"] == first[1]["id"]
    other = await alice.upload(collection, ("b.txt", "other bytes"))
    assert (other.status_code, other.json()["error_code"]) == (409, "DOCUMENT_NAME_CONFLICT")
    twice = await alice.upload(collection, ("c.txt", "tea"), ("c.txt", "tea"))
    assert len({item["id"] for item in twice.json()["items"]}) == 1
    assert [name for name, _ in await documents(engine, collection)] == ["a.txt", "b.txt", "c.txt"]


async def test_one_name_that_is_taken_keeps_out_the_whole_request(alice: Person, engine: AsyncEngine) -> None:
    collection = await alice.collection()
    await alice.uploaded(collection, "b.txt", "first")
    await alice.uploaded(collection, "c.txt", "first")
    answer = await alice.upload(collection, ("a.txt", "a"), ("b.txt", "other"), ("d.txt", "d"))
    assert answer.status_code == 409
    assert [name for name, _ in await documents(engine, collection)] == ["b.txt", "c.txt"]


@pytest.mark.parametrize("settings", [QUOTA], indirect=True)
async def test_uploads_at_once_never_exceed_a_quota(alice: Person, engine: AsyncEngine) -> None:
    collection = await alice.collection()
    answers = await asyncio.gather(*(alice.upload(collection, (f"{it}.txt", "tea")) for it in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [403] * 5
    assert len(await documents(engine, collection)) == 3


@pytest.mark.parametrize("settings", [QUOTA], indirect=True)
async def test_what_was_deleted_makes_room(alice: Person, engine: AsyncEngine) -> None:
    collection = await alice.collection()
    made = [await alice.uploaded(collection, f"{it}.txt", "tea") for it in range(3)]
    assert (await alice.upload(collection, ("4.txt", "tea"))).status_code == 403
    await alice.http.delete(f"/collections/{collection}/documents/{made[0]['id']}")
    assert one(await alice.upload(collection, ("4.txt", "tea")))["status"] == "PENDING"
    assert (await alice.upload(collection, ("5.txt", "tea"))).status_code == 403


async def test_uploads_of_one_name_at_once_make_one_document(alice: Person, engine: AsyncEngine) -> None:
    collection = await alice.collection()
    await alice.uploaded(collection, "first.txt", "first")
    answers = await asyncio.gather(*(alice.upload(collection, ("same.txt", "tea")) for _ in range(6)))
    assert len({one(answer)["id"] for answer in answers}) == 1
    assert [name for name, _ in await documents(engine, collection)] == ["first.txt", "same.txt"]


@pytest.mark.parametrize("settings", [{"remembered_for": 5}], indirect=True)
async def test_nothing_comes_into_a_collection_that_is_deleted_meanwhile(alice: Person, engine: AsyncEngine) -> None:
    """The gateway may remember it; the transaction does not."""
    collection = await alice.collection()
    await alice.uploaded(collection, "first.txt", "first")
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE collection SET status = 'DELETED' WHERE id = :id"), {"id": collection})
    assert (await alice.upload(collection, ("second.txt", "tea"))).status_code == 404
    assert [name for name, _ in await documents(engine, collection)] == ["first.txt"]
