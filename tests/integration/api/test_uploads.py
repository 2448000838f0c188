"""How documents come in over HTTP (contract 1.4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings
from aperag_work import scheduler

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.settings import Settings
    from aperag_common.bus.connection import Bus

Person = Any


def stored(settings: Settings) -> list[str]:
    root = settings.objects.directory
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def rows(engine: AsyncEngine, sql: str) -> list[Any]:
    async with engine.connect() as conn:
        return list(await conn.execute(text(sql)))


async def test_a_posted_document_is_stored_queued_and_announced(
    alice: Person, engine: AsyncEngine, bus: Bus, settings: Settings
) -> None:
    waiting = await bus.js.pull_subscribe_bind("indexer-parse", "APERAG_COMMANDS")
    collection = await alice.collection()
    document = await alice.uploaded(collection, "차 🍵.md", "# 녹차\n")
    assert document["status"] == "PENDING"
    assert (document["name"], document["size"]) == ("차 🍵.md", len("# 녹차\n".encode()))
    assert document["vector_index_status"] == document["fulltext_index_status"] == "PENDING"
    assert document["graph_index_status"] == document["summary_index_status"] == "SKIPPED"
    assert stored(settings) == [f"user-{alice.id}/{collection}/{document['id']}/original.md"]
    (message,) = await waiting.fetch(1, timeout=5)
    assert document["id"].encode() in message.data
    task = (await alice.http.get(f"/tasks/{document['task_id']}")).json()
    assert [step["kind"] for step in task["steps"]] == ["parse", "fulltext", "vector"]
    assert (task["status"], task["document_id"]) == ("RUNNING", document["id"])
    (fact,) = await rows(engine, "SELECT subject FROM outbox WHERE subject LIKE '%document.uploaded'")
    assert fact.subject == f"aperag.evt.{alice.id}.document.uploaded"


async def test_disabled_indexes_get_no_step(alice: Person) -> None:
    collection = await alice.collection(enable_vector=False)
    document = await alice.uploaded(collection, "a.txt", "x")
    assert document["vector_index_status"] == "SKIPPED"
    assert document["fulltext_index_status"] == "PENDING"


async def test_the_same_document_is_accepted_once_however_often_it_is_posted(
    alice: Person, engine: AsyncEngine, settings: Settings
) -> None:
    collection = await alice.collection()
    first = await alice.uploaded(collection, "a.txt", "same")
    again = await alice.upload(collection, ("a.txt", "same"), ("a.txt", "same"))
    assert [item["id"] for item in again.json()["items"]] == [first["id"], first["id"]]
    assert again.json()["items"][0]["task_id"] == first["task_id"]
    assert len(await rows(engine, "SELECT id FROM document")) == 1
    assert len(stored(settings)) == 1


async def test_simultaneous_posts_of_one_document_accept_it_once(
    alice: Person, engine: AsyncEngine, settings: Settings
) -> None:
    collection = await alice.collection()
    answers = await asyncio.gather(*(alice.upload(collection, ("a.txt", "same")) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["items"][0]["id"] for answer in answers}) == 1
    assert len(await rows(engine, "SELECT id FROM document")) == 1
    assert len(stored(settings)) == 1


async def test_crossed_batches_neither_deadlock_nor_double(alice: Person, engine: AsyncEngine) -> None:
    collection = await alice.collection()
    batch = [(f"{n}.txt", f"content {n}") for n in range(4)]
    answers = await asyncio.gather(
        *(alice.upload(collection, *(batch if n % 2 else reversed(batch))) for n in range(6))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len(await rows(engine, "SELECT id FROM document")) == 4


async def test_all_documents_of_a_request_are_accepted_by_one_statement(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = await alice.collection()
    await alice.upload(collection, ("first.txt", "tea"))  # counts the quota, which needs a second look
    accepted: list[int] = []
    whole = scheduler.accept_where

    async def counted(conn: Any, documents: Any, *rest: Any) -> Any:
        accepted.append(len(documents))
        return await whole(conn, documents, *rest)

    monkeypatch.setattr(scheduler, "accept_where", counted)
    answer = await alice.upload(collection, *((f"{n}.txt", "tea") for n in range(5)))
    items = answer.json()["items"]
    assert (accepted, [it["name"] for it in items]) == ([5], [f"{n}.txt" for n in range(5)])
    assert len({it["task_id"] for it in items}) == 5


async def test_other_bytes_under_the_same_name_are_a_conflict(alice: Person, settings: Settings) -> None:
    collection = await alice.collection()
    await alice.uploaded(collection, "a.txt", "one")
    before = stored(settings)
    answer = await alice.upload(collection, ("new.txt", "new"), ("a.txt", "two"))
    assert (answer.status_code, answer.json()["error_code"]) == (409, "DOCUMENT_NAME_CONFLICT")
    assert stored(settings) == before
    listed = await alice.http.get(f"/collections/{collection}/documents")
    assert [item["name"] for item in listed.json()["items"]] == ["a.txt"]


@pytest.mark.parametrize(
    "bad",
    [
        [("tool.exe", b"x")],
        [("large.txt", b"x" * (64 * 1024 + 1))],
        [(f"{n}.txt", b"x") for n in range(6)],
        [("a" * 256 + ".txt", b"x")],
    ],
    ids=["suffix", "size", "count", "long name"],
)
async def test_one_bad_document_refuses_the_batch_and_leaves_nothing(
    alice: Person, engine: AsyncEngine, settings: Settings, bad: list[tuple[str, bytes]]
) -> None:
    collection = await alice.collection()
    answer = await alice.upload(collection, ("good.txt", b"good"), *bad)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER")
    assert stored(settings) == []
    assert await rows(engine, "SELECT id FROM document") == []


async def test_a_form_without_documents_is_a_validation_error(alice: Person) -> None:
    collection = await alice.collection()
    path = f"/collections/{collection}/documents"
    for answer in (
        await alice.http.post(path, files=[("other", ("a.txt", b"x"))]),
        await alice.http.post(path, json={}),
        await alice.http.post(path),
    ):
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "files"]


async def test_after_a_too_large_upload_the_connection_is_still_usable(
    alice: Person, app: FastAPI, settings: Settings
) -> None:
    collection = await alice.collection()
    server = HttpServer(HttpSettings(port=0), app)
    await server.start()
    try:
        one_connection = httpx.Limits(max_connections=1)
        base = f"http://127.0.0.1:{server.port}/api/v1"
        async with httpx.AsyncClient(base_url=base, limits=one_connection, headers=alice.http.headers) as client:
            large = {"files": ("large.txt", b"x" * (settings.max_document_size * 4))}
            refused = await client.post(f"/collections/{collection}/documents", files=large)
            assert refused.status_code == 400
            assert refused.headers.get("connection") != "close"
            accepted = await client.post(f"/collections/{collection}/documents", files={"files": ("a.txt", b"small")})
            assert accepted.status_code == 200
    finally:
        await server.stop()


async def test_upload_then_confirm_indexes_the_document(alice: Person) -> None:
    collection = await alice.collection()
    path = f"/collections/{collection}/documents"
    uploaded = (await alice.http.post(f"{path}/upload", files={"file": ("a.txt", b"staged")})).json()
    assert (uploaded["filename"], uploaded["size"], uploaded["status"]) == ("a.txt", 6, "UPLOADED")
    assert (await alice.http.get(path)).json()["total"] == 0
    again = (await alice.http.post(f"{path}/upload", files={"file": ("a.txt", b"staged")})).json()
    assert again == uploaded
    conflict = await alice.http.post(f"{path}/upload", files={"file": ("a.txt", b"other")})
    assert conflict.status_code == 409
    ids = [uploaded["document_id"], "docunknown"]
    confirmed = (await alice.http.post(f"{path}/confirm", json={"document_ids": ids})).json()
    assert (confirmed["confirmed_count"], confirmed["failed_count"]) == (1, 1)
    assert confirmed["failed_documents"] == [{"document_id": "docunknown", "name": None, "error": "DOCUMENT_NOT_FOUND"}]
    document = (await alice.http.get(f"{path}/{ids[0]}")).json()
    assert (document["status"], document["vector_index_status"]) == ("PENDING", "PENDING")
    twice = (await alice.http.post(f"{path}/confirm", json={"document_ids": ids[:1]})).json()
    assert twice["failed_documents"][0] == {
        "document_id": ids[0],
        "name": "a.txt",
        "error": "DOCUMENT_NOT_UPLOADED",
    }


async def test_posting_bytes_that_wait_for_confirmation_confirms_them(alice: Person) -> None:
    collection = await alice.collection()
    path = f"/collections/{collection}/documents"
    staged = (await alice.http.post(f"{path}/upload", files={"file": ("a.txt", b"staged")})).json()
    posted = await alice.uploaded(collection, "a.txt", b"staged")
    assert (posted["id"], posted["status"]) == (staged["document_id"], "PENDING")
    assert posted["task_id"]


async def test_confirming_needs_at_least_one_id_and_ones_own(alice: Person, mallory: Person) -> None:
    collection, theirs = await alice.collection(), await mallory.collection()
    path = f"/collections/{collection}/documents"
    staged = (await alice.http.post(f"{path}/upload", files={"file": ("a.txt", b"staged")})).json()
    ids = {"document_ids": [staged["document_id"]]}
    stolen = (await mallory.http.post(f"/collections/{theirs}/documents/confirm", json=ids)).json()
    assert stolen["failed_documents"] == [
        {"document_id": staged["document_id"], "name": None, "error": "DOCUMENT_NOT_FOUND"}
    ]
    assert (await alice.http.post(f"{path}/confirm", json={"document_ids": []})).status_code == 422
