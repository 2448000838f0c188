"""Events of other services over HTTP, sent with the SDK that other services use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from tests.integration.api.ingesting import SOURCE, Sender, attributes, working

from aperag_common.events.ingest import BATCH, DELETE, UPSERT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from cloudevents.core.bindings.http import HTTPMessage
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_api.edge.settings import Settings
    from aperag_common.bus.connection import Bus
    from aperag_work.runtime import Runtime

Person = Any
EVENTS = "/ingest/events"


@pytest_asyncio.fixture
async def sender(
    bus: Bus, engine: AsyncEngine, runtime: Runtime, settings: Settings, gateway: Gateway, alice: Person
) -> AsyncIterator[Sender]:
    async with working(runtime, settings, gateway):
        yield Sender(bus, engine, alice.id, await alice.collection(), alice.http)


def event(sender: Sender, id_: str, subject: str, type_: str = UPSERT, **data: Any) -> CloudEvent:
    named = {"source": SOURCE, "id": id_, "type": type_, "subject": subject, "collection": sender.collection}
    return CloudEvent(named, data or None)


async def post(sender: Sender, message: HTTPMessage) -> httpx.Response:
    answer: httpx.Response = await sender.http.post(EVENTS, content=message.body, headers=message.headers)
    return answer


async def batch(sender: Sender, *events: dict[str, Any]) -> httpx.Response:
    answer: httpx.Response = await sender.http.post(EVENTS, content=json.dumps(events), headers={"content-type": BATCH})
    return answer


async def test_the_sdk_sends_structured_and_binary_events(sender: Sender) -> None:
    answer = await post(sender, to_structured_event(event(sender, "1", "녹차.md", content="# 녹차")))
    assert (answer.status_code, answer.json()) == (
        202,
        {"accepted": [{"id": "1", "source": SOURCE, "status": "PENDING"}]},
    )
    assert (await post(sender, to_binary_event(event(sender, "2", "차/b.md", content="b")))).status_code == 202
    assert [await sender.outcome(id_) for id_ in ("1", "2")] == ["created", "created"]
    assert sorted(document["name"] for document in await sender.documents()) == ["b.md", "녹차.md"]
    again = await post(sender, to_structured_event(event(sender, "1", "녹차.md", content="other")))
    assert again.json()["accepted"][0]["status"] == "COMPLETED"
    deleted = await post(sender, to_structured_event(event(sender, "3", "녹차.md", DELETE)))
    assert deleted.status_code == 202
    assert await sender.outcome("3") == "deleted"


async def test_a_batch_is_taken_whole_or_not_at_all(sender: Sender) -> None:
    def of(id_: str, **more: Any) -> dict[str, Any]:
        return {
            **attributes(id_, f"{id_}.md", UPSERT),
            "collection": sender.collection,
            "data": {"content": id_},
            **more,
        }

    refused = await batch(sender, of("1"), of("2", type="other"))
    assert (refused.status_code, refused.json()["error_code"]) == (400, "UNKNOWN_EVENT_TYPE")
    assert refused.json()["message"].startswith("Event 2 of the batch: ")
    assert refused.json()["details"] == {"source": SOURCE, "id": "2"}
    assert (await sender.look("1"))["status"] == "404"
    taken = await batch(sender, of("1"), of("2"), of("1"))
    assert [it["id"] for it in taken.json()["accepted"]] == ["1", "2", "1"]
    assert [await sender.outcome(id_) for id_ in ("1", "2")] == ["created", "created"]
    assert len(await sender.documents()) == 2


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"collection": None}, 400, "COLLECTION_MISSING"),
        ({"collection": "col0123456789abcdef"}, 404, "COLLECTION_NOT_FOUND"),
        ({"collection": "../../etc"}, 404, "COLLECTION_NOT_FOUND"),
        ({"type": "other"}, 400, "UNKNOWN_EVENT_TYPE"),
        ({"subject": None}, 400, "SUBJECT_MISSING"),
        ({"id": None}, 400, "INVALID_EVENT"),
        ({"specversion": "0.3"}, 400, "INVALID_EVENT"),
        ({"data": {"content": "x" * (512 * 1024 + 1)}}, 413, "CONTENT_TOO_LARGE"),
        ({"data": {"reference": "http://example.org"}}, 400, "REFERENCE_UNSUPPORTED"),
    ],
)
async def test_what_is_refused_is_answered_with_its_code_and_not_kept(
    sender: Sender, changes: dict[str, Any], status: int, code: str
) -> None:
    wanted = {**attributes("1", "a.md", UPSERT), "collection": sender.collection, "data": {"content": "x"}, **changes}
    answer = await batch(sender, {name: value for name, value in wanted.items() if value is not None})
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert await sender.rows("SELECT id FROM ingest_event") == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [({}, b"{}"), ({"content-type": BATCH}, b"[]"), ({"content-type": BATCH}, b"{}"), ({"ce-id": "1"}, b"")],
)
async def test_what_is_no_event_is_refused(sender: Sender, headers: dict[str, str], body: bytes) -> None:
    answer = await sender.http.post(EVENTS, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_EVENT")


async def test_the_parameter_names_the_collection_too(sender: Sender) -> None:
    named = attributes("1", "tea", UPSERT)
    headers = {**{f"ce-{name}": value for name, value in named.items()}, "content-type": "text/markdown"}
    answer = await sender.http.post(EVENTS, params={"collection": sender.collection}, content=b"# Tea", headers=headers)
    assert answer.status_code == 202
    assert await sender.outcome("1") == "created"
    [document] = await sender.documents()
    assert document["name"] == "tea.md"


async def test_others_see_and_change_nothing(sender: Sender, mallory: Person) -> None:
    await post(sender, to_structured_event(event(sender, "1", "a.md", content="x")))
    await sender.settled("1")
    theirs = Sender(sender.bus, sender.engine, mallory.id, sender.collection, mallory.http)
    assert (await theirs.look("1"))["status"] == "404"
    answer = await post(theirs, to_structured_event(event(sender, "1", "a.md", content="theirs")))
    assert (answer.status_code, answer.json()["error_code"]) == (404, "COLLECTION_NOT_FOUND")


async def test_a_key_that_reads_or_is_limited_to_another_collection_is_refused(sender: Sender, alice: Person) -> None:
    elsewhere = await alice.collection()
    wanted = event(sender, "1", "a.md", content="x")
    for limits, status, code in (
        ({"scope": "read"}, 403, "FORBIDDEN"),
        ({"collection_ids": [elsewhere]}, 404, "COLLECTION_NOT_FOUND"),
        ({"collection_ids": [sender.collection]}, 202, None),
    ):
        key = (await alice.http.post("/apikeys", json=limits)).json()["key"]
        message = to_structured_event(wanted)
        headers = {**message.headers, "authorization": f"Bearer {key}"}
        answer = await alice.http.post(EVENTS, content=message.body, headers=headers)
        assert (answer.status_code, answer.json().get("error_code")) == (status, code)
