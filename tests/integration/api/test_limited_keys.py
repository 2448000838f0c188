"""Keys that may do less than their owner: in what they do, in what they reach, and for how long."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_api.edge.app import make_app, open_gateway
from aperag_api.kernel.auth import Caller, Credential, CredentialKind, Role
from aperag_api.operations.traces import repository as traces
from aperag_common.health import Health
from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_api.edge.settings import Settings
    from aperag_work.runtime import Runtime

Person = Any
Indexer = Any

NEXT_CENTURY = "2100-01-01T00:00:00+00:00"


async def new_key(person: Person, **limits: Any) -> dict[str, Any]:
    answer = await person.http.post("/apikeys", json=limits)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@dataclass(slots=True)
class Shelf:
    """Alice's collection, another one of hers, a document in each, and a client with a key limited to the first."""

    here: str
    elsewhere: str
    document: dict[str, Any]
    hidden: dict[str, Any]
    http: httpx.AsyncClient


def with_key(app: FastAPI, key: str, name: str = "gateway") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=transport, base_url=f"http://{name}/api/v1", headers=headers, timeout=30)


@pytest_asyncio.fixture
async def shelf(alice: Person, app: FastAPI) -> AsyncIterator[Shelf]:
    here, elsewhere = await alice.collection(), await alice.collection()
    document = await alice.uploaded(here, "here.txt", "tea")
    hidden = await alice.uploaded(elsewhere, "hidden.txt", "tea")
    key = (await new_key(alice, collection_ids=[here]))["key"]
    async with with_key(app, key) as http:
        yield Shelf(here, elsewhere, document, hidden, http)


async def test_a_key_says_what_it_may_do_and_lists_repeat_it(alice: Person) -> None:
    collection = await alice.collection()
    limits = {"scope": "read", "collection_ids": [collection], "expires_at": NEXT_CENTURY}
    made = await new_key(alice, description="agent", **limits)
    listed = next(it for it in (await alice.http.get("/apikeys")).json()["items"] if it["id"] == made["id"])
    for told in (made, listed):
        assert (told["scope"], told["collection_ids"]) == ("read", [collection])
        assert told["expires_at"].startswith("2100-01-01T00:00:00")
    assert listed["key"] != made["key"]
    whole = await new_key(alice)
    assert (whole["scope"], whole["collection_ids"], whole["expires_at"]) == ("all", None, None)
    renamed = (await alice.http.put(f"/apikeys/{made['id']}", json={"description": "x", "scope": "all"})).json()
    assert (renamed["description"], renamed["scope"]) == ("x", "read"), "what a key may do never changes"


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"scope": "write"}, 422),
        ({"scope": None}, 422),
        ({"collection_ids": []}, 422),
        ({"collection_ids": ["c" * 25]}, 422),
        ({"collection_ids": ["col0123456789abcdef"]}, 404),
        ({"expires_at": "tomorrow"}, 422),
        ({"expires_at": "2100-01-01T00:00:00"}, 422),
        ({"expires_at": "2001-01-01T00:00:00Z"}, 400),
    ],
)
async def test_limits_that_make_no_sense_make_no_key(alice: Person, limits: dict[str, Any], status: int) -> None:
    assert (await alice.http.post("/apikeys", json=limits)).status_code == status
    assert len((await alice.http.get("/apikeys")).json()["items"]) == 1


async def test_a_key_names_only_what_its_owner_can_read(alice: Person, mallory: Person) -> None:
    theirs, gone = await mallory.collection(), await alice.collection()
    await alice.http.delete(f"/collections/{gone}")
    for collection in (theirs, gone):
        answer = await alice.http.post("/apikeys", json={"collection_ids": [await alice.collection(), collection]})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "COLLECTION_NOT_FOUND")
    await mallory.http.post(f"/collections/{theirs}/sharing")
    assert (await alice.http.post("/apikeys", json={"collection_ids": [theirs]})).status_code == 404
    await alice.http.post(f"/marketplace/collections/{theirs}/subscribe")
    assert (await new_key(alice, collection_ids=[theirs]))["collection_ids"] == [theirs]


async def test_a_reading_key_reads_and_searches_and_says_why_it_does_no_more(
    alice: Person, app: FastAPI, indexer: Indexer
) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "green tea")
    await indexer.settle(document["id"], "green tea")
    async with with_key(app, (await new_key(alice, scope="read"))["key"]) as http:
        body = {"query": "tea", "fulltext_search": {}}
        found = (await http.post(f"/collections/{collection}/searches", json=body)).json()
        assert [it["source"] for it in found["items"]] == ["a.txt"]
        files = [("files", ("b.txt", b"b"))]
        refused = await http.post(f"/collections/{collection}/documents", files=files)
    assert (refused.status_code, refused.json()["error_code"]) == (403, "FORBIDDEN")
    assert "scope" in refused.json()["message"]
    assert (await alice.http.get(f"/collections/{collection}/documents")).json()["total"] == 1


async def test_a_key_of_an_administrator_is_no_administrator_once_it_is_limited(
    make_person: Callable[..., Awaitable[Person]], app: FastAPI
) -> None:
    admin = await make_person("admin")
    await make_person()
    collection = await admin.collection()
    for limits in ({"scope": "read"}, {"collection_ids": [collection]}):
        async with with_key(app, (await new_key(admin, **limits))["key"]) as http:
            assert (await http.get("/admin/queues")).status_code == 403
            assert (await http.get("/users")).status_code == 403
            assert (await http.get("/user")).json()["role"] == "admin", "the user is one all the same"
    async with with_key(app, (await new_key(admin, expires_at=NEXT_CENTURY))["key"]) as http:
        assert (await http.get("/admin/queues")).status_code == 200


async def test_lists_show_a_limited_key_its_collections_only(alice: Person, mallory: Person, shelf: Shelf) -> None:
    theirs = await mallory.collection()
    await mallory.http.post(f"/collections/{theirs}/sharing")
    await alice.http.post(f"/marketplace/collections/{theirs}/subscribe")
    listed = (await shelf.http.get("/collections")).json()
    assert ([it["id"] for it in listed["items"]], listed["pageResult"]["count"]) == ([shelf.here], 1)
    for path in ("/marketplace/collections", "/marketplace/collections/subscriptions"):
        shared = (await shelf.http.get(path)).json()
        assert (shared["items"], shared["total"]) == ([], 0)
    assert (await shelf.http.get(f"/marketplace/collections/{theirs}")).status_code == 404


async def test_a_limited_key_finds_nothing_of_another_collection(shelf: Shelf, engine: AsyncEngine) -> None:
    hidden, mixed = shelf.hidden, f"/collections/{shelf.here}/documents/{shelf.hidden['id']}"
    for path in (f"/tasks/{hidden['task_id']}", f"/collections/{shelf.elsewhere}", mixed, f"{mixed}/timeline"):
        assert (await shelf.http.get(path)).status_code == 404, path
    assert (await shelf.http.post(f"/tasks/{hidden['task_id']}/cancel")).status_code == 404
    assert (await shelf.http.delete(mixed)).status_code == 404
    confirmed = await shelf.http.post(
        f"/collections/{shelf.here}/documents/confirm", json={"document_ids": [hidden["id"]]}
    )
    assert confirmed.json()["failed_documents"][0]["error"] == "DOCUMENT_NOT_FOUND"
    body = {"query": "tea", "fulltext_search": {}, "wait_for": [hidden["id"], hidden["task_id"]], "wait_ms": 0}
    searched = await shelf.http.post(f"/collections/{shelf.here}/searches", json=body)
    assert searched.json()["not_searchable"] == [hidden["id"], hidden["task_id"]]
    async with engine.connect() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM workflow WHERE status <> 'RUNNING'"))).scalar_one() == 0


async def test_a_limited_key_works_within_its_collections(shelf: Shelf) -> None:
    task = shelf.document["task_id"]
    assert (await shelf.http.get(f"/tasks/{task}")).json()["id"] == task
    assert (await shelf.http.post(f"/tasks/{task}/cancel")).status_code == 200
    files = [("files", ("b.txt", b"b"))]
    assert (await shelf.http.post(f"/collections/{shelf.here}/documents", files=files)).status_code == 200
    made = await shelf.http.post("/collections", json={"title": "mine"})
    assert (made.status_code, made.json()["error_code"]) == (403, "FORBIDDEN")


async def test_a_trace_is_read_with_a_limited_key_only_where_all_of_it_is_reached(
    alice: Person, shelf: Shelf, engine: AsyncEngine
) -> None:
    def caller(*collections: str) -> Caller:
        key = Credential(CredentialKind.API_KEY, "key1")
        return Caller(alice.id, alice.id, Role.RW, key, collection_ids=frozenset(collections))

    async with engine.begin() as conn:
        await conn.execute(text("UPDATE workflow SET traceparent = '00-' || repeat('a', 32) || '-b-01'"))
        assert not await traces.owns(conn, "a" * 32, caller(shelf.here))
        assert await traces.owns(conn, "a" * 32, caller(shelf.here, shelf.elsewhere))
        await conn.execute(
            text("UPDATE workflow SET traceparent = NULL WHERE collection_id = :id"), {"id": shelf.elsewhere}
        )
        assert await traces.owns(conn, "a" * 32, caller(shelf.here))


@pytest_asyncio.fixture
async def base(app: FastAPI, gateway: Gateway) -> AsyncIterator[str]:
    server = HttpServer(HttpSettings(port=0), app)
    await server.start()
    yield f"http://127.0.0.1:{server.port}/api/v1"
    await gateway.operations.feed.close()
    await server.stop()


@asynccontextmanager
async def reading(base: str, key: str, **headers: str) -> AsyncIterator[AsyncIterator[str]]:
    """Lines of the event stream."""
    headers["Authorization"] = f"Bearer {key}"
    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as client,
        client.stream("GET", f"{base}/events", headers=headers) as response,
    ):
        assert response.status_code == 200
        yield response.aiter_lines()


async def uploaded_names(lines: AsyncIterator[str], count: int) -> list[str]:
    names: list[str] = []
    while len(names) < count:
        line = await anext(lines)
        event = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
        if event.get("type") == "document.uploaded":
            names.append(event["data"]["name"])
    return names


async def test_a_limited_key_sees_the_events_of_its_collections(alice: Person, shelf: Shelf, base: str) -> None:
    key = str(shelf.http.headers["authorization"]).removeprefix("Bearer ")
    async with reading(base, key) as lines:
        await alice.uploaded(shelf.elsewhere, "not mine.txt", "1")
        await alice.uploaded(shelf.here, "live.txt", "2")
        assert await uploaded_names(lines, 1) == ["live.txt"]
    async with reading(base, key, **{"Last-Event-ID": "1-0"}) as lines:
        await alice.uploaded(shelf.elsewhere, "nor this.txt", "3")
        await alice.uploaded(shelf.here, "last.txt", "4")
        assert await uploaded_names(lines, 3) == ["here.txt", "live.txt", "last.txt"]


@pytest.mark.parametrize("settings", [{"event_heartbeat": 0.2}], indirect=True)
async def test_an_event_stream_ends_when_its_key_is_revoked(alice: Person, base: str) -> None:
    made = await new_key(alice)
    async with reading(base, made["key"]) as lines:
        while not (await anext(lines)).startswith(": "):
            pass  # it goes on while the key is valid
        assert (await alice.http.delete(f"/apikeys/{made['id']}")).json() is True
        left = [line async for line in lines]
    told = [json.loads(line.removeprefix("data: "))["type"] for line in left if line.startswith("data: ")]
    assert set(told) <= {"key.revoked"}  # why it ends may be the last that it says


async def test_an_expired_key_is_nobody(alice: Person, app: FastAPI, engine: AsyncEngine) -> None:
    made = await new_key(alice, expires_at=NEXT_CENTURY)
    async with with_key(app, made["key"]) as http:
        assert (await http.get("/collections")).status_code == 200
        async with engine.begin() as conn:
            await conn.execute(
                text("UPDATE api_key SET expires_at = clock_timestamp() WHERE id = :id"), {"id": made["id"]}
            )
        answer = await http.get("/collections")
        assert (answer.status_code, answer.json()) == (401, {"detail": "Unauthorized"})
    listed = {it["id"] for it in (await alice.http.get("/apikeys")).json()["items"]}
    assert made["id"] in listed, "its owner still sees what it was"


async def test_a_revoked_key_is_refused_by_every_replica_at_once(
    alice: Person, app: FastAPI, runtime: Runtime, settings: Settings
) -> None:
    made = await new_key(alice)
    other = replace(runtime, instance="other", health=Health())
    async with open_gateway(other, settings) as gateway:
        there = with_key(make_app(gateway, other, settings), made["key"], "other")
        async with there, with_key(app, made["key"]) as here:
            for http in (here, there, here, there):
                assert (await http.get("/collections")).status_code == 200
            assert (await alice.http.delete(f"/apikeys/{made['id']}")).json() is True
            for http in (there, here):
                assert (await http.get("/collections")).status_code == 401


async def test_a_refused_request_is_a_use_of_the_key_too(alice: Person, app: FastAPI) -> None:
    made = await new_key(alice, scope="read")
    async with with_key(app, made["key"]) as http:
        assert (await http.post("/collections", json={"title": "t"})).status_code == 403
    listed = {it["id"]: it for it in (await alice.http.get("/apikeys")).json()["items"]}
    assert listed[made["id"]]["last_used_at"] is not None


async def test_a_key_for_a_subscribed_collection_ends_with_the_sharing(
    alice: Person, mallory: Person, app: FastAPI
) -> None:
    theirs = await mallory.collection()
    await mallory.http.post(f"/collections/{theirs}/sharing")
    await alice.http.post(f"/marketplace/collections/{theirs}/subscribe")
    async with with_key(app, (await new_key(alice, collection_ids=[theirs]))["key"]) as http:
        assert (await http.get(f"/collections/{theirs}")).status_code == 200
        files = [("files", ("b.txt", b"b"))]
        assert (await http.post(f"/collections/{theirs}/documents", files=files)).status_code == 403
        await mallory.http.delete(f"/collections/{theirs}/sharing")
        assert (await http.get(f"/collections/{theirs}")).status_code == 404
        assert (await http.get("/collections")).json()["items"] == []
