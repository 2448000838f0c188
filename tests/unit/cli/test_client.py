"""Each failure of a request says what is wrong and what to do, and ends the command with its own exit code."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aperag_cli.client import errors
from aperag_cli.client.api import connect
from aperag_cli.client.http import Target
from aperag_cli.client.patience import Patience
from aperag_cli.exits import Exit, exit_of

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = Target("http://gateway", "sk-1")
AT_ONCE = Patience(first=0.0)


async def asked(handler: Callable[[httpx.Request], httpx.Response]) -> Any:
    async with connect(TARGET, transport=httpx.MockTransport(handler)) as api:
        return await api.task("wf1")


def answering(status: int, **answer: Any) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, **answer)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "told"),
    [
        (401, {"detail": "Unauthorized"}, errors.NotAuthorised, Exit.NOT_AUTHORISED, "API key"),
        (403, {"message": "read only"}, errors.NotAuthorised, Exit.NOT_AUTHORISED, "read only"),
        (404, {"message": "Task wf1 not found"}, errors.NotFound, Exit.NOT_FOUND, "wf1 not found"),
        (409, {"detail": "has ended"}, errors.Refused, Exit.FAILED, "has ended"),
        (422, {"detail": [{"loc": ["body", "topk"], "msg": "too big"}]}, errors.Refused, Exit.FAILED, "topk: too"),
        (422, {"detail": [{"loc": ["query", "page"], "msg": "too big"}]}, errors.Refused, Exit.FAILED, "page: too"),
        (422, {"errors": [{"loc": ["query"], "msg": "blank"}]}, errors.Refused, Exit.FAILED, "query: blank"),
        (500, {"message": "broken", "trace_id": "abc"}, errors.ServerFailed, Exit.FAILED, "broken (500, trace abc)"),
    ],
)
async def test_a_refusal_is_told_in_the_gateways_own_words(
    status: int, body: dict[str, Any], kind: type[errors.ApiError], code: Exit, told: str
) -> None:
    with pytest.raises(kind) as caught:
        await asked(answering(status, json=body))
    assert told in caught.value.message
    assert "body." not in caught.value.message  # people fill in fields
    assert caught.value.hint
    assert exit_of(caught.value) == code


@pytest.mark.parametrize("answer", [{"status": 200, "text": "<html>"}, {"status": 404, "text": ""}, {"status": 301}])
async def test_a_server_of_another_kind_is_named_as_such(answer: dict[str, Any]) -> None:
    with pytest.raises(errors.NotAGateway, match="does not answer like an ApeRAG gateway"):
        await asked(answering(answer.pop("status"), **answer))


async def test_a_connection_that_breaks_is_no_stack_trace() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(errors.Unreachable, match="http://gateway does not answer"):
        await asked(refuse)


async def test_an_id_cannot_lead_to_another_route() -> None:
    asked_for: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        asked_for.append(request.url.raw_path.decode())
        return httpx.Response(200, json={})

    async with connect(TARGET, transport=httpx.MockTransport(note)) as api:
        await api.task("../apikeys?x=1")
        for nothing in ("", ".", ".."):
            with pytest.raises(errors.NotFound):
                await api.task(nothing)
    assert asked_for == ["/api/v1/tasks/..%2Fapikeys%3Fx%3D1"]


class Listing:
    """A gateway with these collections and no other route."""

    def __init__(self, *titles: str) -> None:
        self.items = [{"id": f"col{number:016x}", "title": title} for number, title in enumerate(titles)]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        page, size = int(request.url.params["page"]), int(request.url.params["page_size"])
        return httpx.Response(200, json={"items": self.items[(page - 1) * size : page * size]})


async def collection_id(wanted: str, *titles: str) -> str:
    async with connect(TARGET, transport=httpx.MockTransport(Listing(*titles))) as api:
        return await api.collection_id(wanted)


async def test_a_collection_is_found_by_its_title_on_whatever_page() -> None:
    assert await collection_id("last", *map(str, range(1000)), "last") == f"col{1000:016x}"


async def test_an_id_is_taken_as_it_is() -> None:
    assert await collection_id("col00000000000000ff") == "col00000000000000ff"


async def test_a_title_of_two_collections_is_refused_with_both_ids() -> None:
    with pytest.raises(errors.Ambiguous) as caught:
        await collection_id("Tea", "Tea", "Coffee", "Tea")
    assert f"col{0:016x}, col{2:016x}" in caught.value.hint
    assert exit_of(caught.value) == Exit.USAGE


async def test_a_title_that_nobody_has_says_where_to_look() -> None:
    with pytest.raises(errors.NotFound) as caught:
        await collection_id("tea", "Tea")
    assert "collections list" in caught.value.hint


def failing(*failures: errors.ApiError) -> Callable[[], Any]:
    left = list(failures)

    async def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


async def test_what_may_pass_is_tried_again_until_it_does() -> None:
    told: list[errors.ApiError] = []
    away = errors.Unreachable("away")
    full = errors.ServerFailed("full", retryable=True)
    assert await AT_ONCE.get(failing(away, full), told=told.append) == "done"
    assert told == [away, full]


@pytest.mark.parametrize(
    "final", [errors.Refused("no"), errors.NotAuthorised("who"), errors.ServerFailed("bug", retryable=False)]
)
async def test_what_will_not_pass_is_raised_at_once(final: errors.ApiError) -> None:
    told: list[errors.ApiError] = []
    with pytest.raises(type(final)):
        await AT_ONCE.get(failing(final), told=told.append)
    assert told == []


async def test_patience_ends() -> None:
    with pytest.raises(errors.Unreachable):
        await Patience(seconds=-1.0).get(failing(errors.Unreachable("away")), told=lambda _: None)


def test_a_delay_grows_is_capped_and_honours_what_the_gateway_asks() -> None:
    patience = Patience(first=1.0, longest=4.0)
    away = errors.Unreachable("away")
    for failures, most in ((1, 1.0), (2, 2.0), (3, 4.0), (99, 4.0)):
        assert 0.75 * most <= patience.delay(failures, away) <= most
    assert patience.delay(1, errors.ServerFailed("full", retryable=True, retry_after=9.0)) == 9.0


class Stream:
    """Event streams that end one after the other; notes where each one was resumed."""

    def __init__(self, *streams: str) -> None:
        self.streams = list(streams)
        self.resumed: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.resumed.append(request.headers.get("Last-Event-ID"))
        if not self.streams:
            return httpx.Response(401, json={"detail": "Unauthorized"})
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=self.streams.pop(0))


def told(seq: int) -> str:
    return f"id: 1-{seq}\nevent: document.parsed\ndata: {json.dumps({'data': {'document_id': f'doc{seq}'}})}\n\n"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aperag_cli.client.events.AGAIN", AT_ONCE)


@pytest.mark.usefixtures("hasty")
async def test_a_lost_event_stream_is_resumed_after_the_last_event() -> None:
    stream = Stream("retry: 1000\nid: 1-4\n\n", told(5) + told(6), told(7))
    losses: list[errors.ApiError] = []
    async with (
        connect(TARGET, transport=httpx.MockTransport(stream)) as api,
        api.events(on_loss=losses.append) as events,
    ):
        heard = [await events.next() for _ in range(3)]
        with pytest.raises(errors.NotAuthorised):
            await events.next()
    assert [event.id for event in heard if event] == ["1-5", "1-6", "1-7"]
    assert stream.resumed == [None, "1-4", "1-6", "1-7"]
    assert len(losses) == 3


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [(503, "{}", errors.ServerFailed), (200, "data: no JSON\n\n", errors.NotAGateway), (200, "", errors.Unreachable)],
)
async def test_an_event_stream_that_cannot_begin_fails_at_once(
    status: int, text: str, kind: type[errors.ApiError]
) -> None:
    handler = answering(status, text=text, headers={"content-type": "text/event-stream"})
    async with connect(TARGET, transport=httpx.MockTransport(handler)) as api, api.events() as events:
        with pytest.raises(kind):
            await events.next()


async def test_silence_is_no_event() -> None:
    async def silent(_: httpx.Request) -> httpx.Response:
        async def frames() -> Any:
            yield b"id: 1-1\n\n"
            await asyncio.Event().wait()

        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=frames())

    async with connect(TARGET, transport=httpx.MockTransport(silent)) as api, api.events() as events:
        assert await events.next(0.01) is None
