"""Events as a stream over HTTP: gapless, resumable, and only one's own."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi import FastAPI

    from aperag_api.edge.gateway import Gateway
    from aperag_common.bus.connection import Bus
    from aperag_standalone.nats import NatsServer

Person = Any
Indexer = Any


@dataclass(slots=True)
class Frame:
    id: str = ""
    event: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    comment: str = ""


@dataclass(slots=True)
class Stream:
    """Frames of one open connection."""

    lines: AsyncIterator[str]

    async def frame(self) -> Frame:
        frame, filled = Frame(), False
        async with asyncio.timeout(15):
            while True:
                line = await anext(self.lines)
                if not line and filled:
                    return frame
                name, _, value = line.partition(": ")
                filled = filled or bool(line)
                if name == "data":
                    frame.data = json.loads(value)
                elif name in {"id", "event"}:
                    setattr(frame, name, value)
                elif line.startswith(":"):
                    frame.comment = line

    async def event(self, kind: str) -> Frame:
        """The next frame of this event; others before it are read over."""
        while True:
            frame = await self.frame()
            if frame.event == kind:
                return frame

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            try:
                while True:
                    await anext(self.lines)
            except StopAsyncIteration:
                return True


@pytest_asyncio.fixture
async def base(app: FastAPI, gateway: Gateway) -> AsyncIterator[str]:
    server = HttpServer(HttpSettings(port=0), app)
    await server.start()
    yield f"http://127.0.0.1:{server.port}/api/v1"
    await gateway.operations.feed.close()
    await server.stop()


@asynccontextmanager
async def listening(base: str, person: Person, path: str = "/events", last_id: str = "") -> AsyncIterator[Stream]:
    headers = dict(person.http.headers) | ({"Last-Event-ID": last_id} if last_id else {})
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("GET", base + path, headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response.aiter_lines())


async def test_an_owner_sees_their_documents_events_as_they_happen(
    base: str, alice: Person, mallory: Person, indexer: Indexer
) -> None:
    collection, theirs = await alice.collection(), await mallory.collection()
    async with listening(base, alice) as stream:
        await mallory.uploaded(theirs, "m.txt", "secret")
        document = await alice.uploaded(collection, "a.txt", "tea")
        uploaded = await stream.event("document.uploaded")
        assert uploaded.data["subject"] == document["id"]
        assert uploaded.data["data"]["name"] == "a.txt"
        await indexer.settle(document["id"], "tea")
        seen = [await stream.frame() for _ in range(4)]
        assert {frame.event for frame in seen} == {"document.parsed", "index.activated", "document.indexed"}
        assert {frame.data["owner"] for frame in seen} == {alice.id}


@pytest.mark.parametrize("settings", [{"max_streams_per_user": 1}], indirect=True)
async def test_one_user_has_so_many_streams_and_leaves_the_others_theirs(
    base: str, alice: Person, mallory: Person
) -> None:
    async def another() -> httpx.Response:
        headers = {"Authorization": alice.http.headers["authorization"]}
        async with (
            httpx.AsyncClient(headers=headers, trust_env=False) as http,
            http.stream("GET", f"{base}/events") as answer,
        ):
            return answer

    async with listening(base, alice) as stream:
        await stream.frame()
        refused = await another()
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
        async with listening(base, mallory) as other:
            await other.frame()

    async def opened() -> bool:
        return (await another()).status_code == 200

    await until(opened)


async def test_a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice(
    base: str, alice: Person, mallory: Person
) -> None:
    collection, theirs = await alice.collection(), await mallory.collection()
    async with listening(base, alice) as stream:
        await alice.uploaded(collection, "0.txt", "0")
        last = (await stream.event("document.uploaded")).id
    for number in range(1, 4):
        await alice.uploaded(collection, f"{number}.txt", str(number))
        await mallory.uploaded(theirs, f"{number}.txt", str(number))
    async with listening(base, alice, last_id=last) as stream:
        await alice.uploaded(collection, "4.txt", "4")
        names = [(await stream.event("document.uploaded")).data["data"]["name"] for _ in range(4)]
    assert sorted(names) == [f"{number}.txt" for number in range(1, 5)]


async def test_a_reader_that_has_seen_nothing_yet_can_come_back_too(base: str, alice: Person) -> None:
    collection = await alice.collection()
    async with listening(base, alice) as stream:
        begin = (await stream.frame()).id
    await alice.uploaded(collection, "a.txt", "a")
    async with listening(base, alice, path=f"/events?last_event_id={begin}") as stream:
        assert (await stream.event("document.uploaded")).data["data"]["name"] == "a.txt"


async def test_a_reader_begins_at_a_time_and_is_told_where_the_past_ends(
    base: str, alice: Person, mallory: Person
) -> None:
    collection, theirs = await alice.collection(), await mallory.collection()
    async with listening(base, alice) as stream:
        await alice.uploaded(collection, "before.txt", "0")
        await stream.event("document.uploaded")
        since = quote(datetime.now(UTC).isoformat())
        await mallory.uploaded(theirs, "theirs.txt", "1")
        await alice.uploaded(collection, "after.txt", "1")
        last = await stream.event("document.uploaded")
    async with listening(base, alice, path=f"/events?since={since}") as stream:
        begin, past, end = [await stream.frame() for _ in range(3)]
        assert (begin.event, past.data["data"]["name"], end.event) == ("", "after.txt", "")
        assert past.id == last.id
        await alice.uploaded(collection, "live.txt", "2")
        assert (await stream.event("document.uploaded")).data["data"]["name"] == "live.txt"
    # A reader that is lost before it has seen any of the past misses none of it.
    async with listening(base, alice, path=f"/events?since={since}", last_id=begin.id) as stream:
        names = [(await stream.event("document.uploaded")).data["data"]["name"] for _ in range(2)]
    assert names == ["after.txt", "live.txt"]


@pytest.mark.parametrize("since", ["2000-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
async def test_a_time_before_or_after_everything_is_no_mistake(base: str, alice: Person, since: str) -> None:
    collection = await alice.collection()
    async with listening(base, alice, path=f"/events?since={since}") as stream:
        await alice.uploaded(collection, "a.txt", "a")
        assert (await stream.event("document.uploaded")).data["owner"] == alice.id


@pytest.mark.parametrize("last_id", ["99-1", "1-999999", "nonsense", "0-0"])
async def test_an_unknown_position_gets_one_reset_and_then_what_happens(base: str, alice: Person, last_id: str) -> None:
    collection = await alice.collection()
    async with listening(base, alice, last_id=last_id) as stream:
        reset = await stream.frame()
        assert reset.event == "reset"
        await alice.uploaded(collection, "a.txt", "a")
        assert (await stream.event("document.uploaded")).data["owner"] == alice.id


async def test_a_position_older_than_the_stream_gets_a_reset(base: str, alice: Person, bus: Bus) -> None:
    collection = await alice.collection()
    async with listening(base, alice) as stream:
        await alice.uploaded(collection, "0.txt", "0")
        last = (await stream.event("document.uploaded")).id
        await alice.uploaded(collection, "1.txt", "1")
        await stream.event("document.uploaded")
        await bus.js.purge_stream(subjects.EVENTS)
    async with listening(base, alice, last_id=last) as stream:
        assert (await stream.frame()).event == "reset"


async def test_an_administrator_follows_all_owners_and_comes_back_where_they_were(
    base: str, make_person: Callable[..., Awaitable[Person]], alice: Person, mallory: Person
) -> None:
    admin = await make_person("admin")
    collections = {person.id: await person.collection() for person in (alice, mallory)}
    async with listening(base, admin, path="/admin/events") as stream:
        await alice.uploaded(collections[alice.id], "a.txt", "a")
        first = await stream.event("document.uploaded")
    await mallory.uploaded(collections[mallory.id], "m.txt", "m")
    async with listening(base, admin, path="/admin/events", last_id=first.id) as stream:
        missed = await stream.event("document.uploaded")
        await alice.uploaded(collections[alice.id], "b.txt", "b")
        live = await stream.event("document.uploaded")
    owners = [frame.data["owner"] for frame in (first, missed, live)]
    assert owners == [alice.id, mallory.id, alice.id]


async def test_following_all_owners_is_on_record_while_it_lasts_and_refused_to_others(
    base: str, make_person: Callable[..., Awaitable[Person]], alice: Person
) -> None:
    admin = await make_person("admin")
    read_key = (await admin.http.post("/apikeys", json={"scope": "read"})).json()["key"]
    for headers in (alice.http.headers, {"Authorization": f"Bearer {read_key}"}):
        assert (await admin.http.get("/admin/events", headers=dict(headers))).status_code == 403
    assert (await admin.http.get("/admin/events", headers={"Authorization": "Bearer sk-no"})).status_code == 401
    async with listening(base, admin, path="/admin/events") as stream:
        await stream.frame()
        found = (await admin.http.get("/audit-logs", params={"resource_type": "event", "user_id": admin.id})).json()
    ends = {(row["api_name"], row["status_code"]) for row in found["items"]}
    assert ("AllEvents", None) in ends
    assert ("AllEvents", 403) in ends


async def test_a_documents_stream_holds_its_events_only(base: str, alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    one, other = [(await alice.uploaded(collection, f"{n}.txt", str(n)))["id"] for n in range(2)]
    async with listening(base, alice, path=f"/collections/{collection}/documents/{one}/events") as stream:
        await indexer.settle(other, "other")
        await indexer.settle(one, "one")
        parsed = await stream.event("document.parsed")
        assert parsed.data["subject"] == one


async def test_the_stream_goes_on_after_nats_restarts(
    base: str, alice: Person, nats_server: NatsServer, bus: Bus
) -> None:
    collection = await alice.collection()
    reconnected = asyncio.Event()

    async def on_reconnect() -> None:
        reconnected.set()

    bus.reconnected.append(on_reconnect)
    async with listening(base, alice) as stream:
        await alice.uploaded(collection, "0.txt", "0")
        before = await stream.event("document.uploaded")
        await asyncio.to_thread(nats_server.restart)
        await asyncio.wait_for(reconnected.wait(), 20)
        await alice.uploaded(collection, "1.txt", "1")
        after = await stream.event("document.uploaded")
    assert after.data["data"]["name"] == "1.txt"
    assert after.id.partition("-")[0] == before.id.partition("-")[0]


async def test_a_stream_that_began_anew_resets_its_readers_and_goes_on(
    base: str, alice: Person, bus: Bus, see_stream: Callable[[], Awaitable[int]]
) -> None:
    collection = await alice.collection()
    async with listening(base, alice) as stream:
        await alice.uploaded(collection, "0.txt", "0")
        old = await stream.event("document.uploaded")
        await bus.js.delete_stream(subjects.EVENTS)
        await topology.apply(bus.js)
        epoch = await see_stream()
        reset = await stream.event("reset")
        assert reset.data["epoch"] == epoch
        await alice.uploaded(collection, "1.txt", "1")
        new = await stream.event("document.uploaded")
        assert new.id.startswith(f"{epoch}-")
    async with listening(base, alice, last_id=old.id) as stream:
        assert (await stream.frame()).event == "reset"


async def test_closing_the_gateway_ends_open_streams(base: str, alice: Person, gateway: Gateway) -> None:
    async with listening(base, alice) as stream:
        await stream.frame()
        await gateway.operations.feed.close()
        assert await stream.ended()
