"""CloudEvents 1.0 in every form they come in, and what is no event."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from aperag_api.knowledge.ingest import cloudevents
from aperag_api.knowledge.ingest.cloudevents import Event
from aperag_api.knowledge.ingest.refusals import RefusedEvent
from aperag_common.events.ingest import BATCH, STRUCTURED, UPSERT

DATA = {"name": "tea.md", "content": "# 녹차"}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/wiki",
    "type": UPSERT,
    "subject": "녹차",
    "time": "2026-01-02T03:04:05Z",
    "datacontenttype": "application/json",
    "collection": "col1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "data": DATA,
}
READ = Event(
    id="1",
    source="/wiki",
    type=UPSERT,
    subject="녹차",
    time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    media_type="application/json",
    collection="col1",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    data=DATA,
)
BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/wiki",
    "ce-type": UPSERT,
    "ce-subject": "%EB%85%B9%EC%B0%A8",
    "ce-time": "2026-01-02T03:04:05Z",
    "ce-collection": "col1",
    "ce-traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
BODY = json.dumps(DATA).encode()


def but(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**EVENT, **changes}.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": STRUCTURED}, but()),
        ({"Content-Type": f"{STRUCTURED}; charset=UTF-8"}, but()),
        ({}, but()),
        ({"Nats-Msg-Id": "x"}, but()),
        ({**BINARY, "content-type": "application/json"}, BODY),
        ({**BINARY, "ce-datacontenttype": "application/json"}, BODY),
        ({name.upper(): value for name, value in {**BINARY, "content-type": "application/json"}.items()}, BODY),
    ],
    ids=[
        "structured",
        "with a charset",
        "without headers",
        "with other headers",
        "binary",
        "its own type",
        "in capitals",
    ],
)
def test_an_event_over_nats_is_read_in_both_modes(headers: dict[str, str], body: bytes) -> None:
    assert cloudevents.from_nats(headers, body) == READ


def test_an_event_over_http_is_read_in_all_three_modes() -> None:
    for media_type in (STRUCTURED, "application/json"):
        assert cloudevents.from_http({"content-type": media_type}, but()) == [READ]
    assert cloudevents.from_http({**BINARY, "content-type": "application/json"}, BODY) == [READ]
    both = json.dumps([EVENT, {**EVENT, "id": "2"}]).encode()
    assert [event.id for event in cloudevents.from_http({"content-type": BATCH}, both)] == ["1", "2"]


def test_what_an_event_leaves_out_is_not_invented() -> None:
    bare = cloudevents.from_nats({}, but(time=None, subject=None, traceparent=None, collection=None, data=None))
    assert (bare.time, bare.subject, bare.traceparent, bare.collection, bare.data) == (None,) * 5


@pytest.mark.parametrize("headers", [{}, {"content-type": STRUCTURED}])
def test_bytes_come_as_bytes(headers: dict[str, str]) -> None:
    encoded = base64.b64encode(b"\x00\xff").decode()
    event = cloudevents.from_nats(headers, but(data=None, data_base64=encoded, datacontenttype="application/pdf"))
    assert (event.data, event.media_type) == (b"\x00\xff", "application/pdf")
    binary = cloudevents.from_nats({**BINARY, "content-type": "application/pdf"}, b"\x00\xff")
    assert (binary.data, binary.media_type) == (b"\x00\xff", "application/pdf")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"no json",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
        but(id=None),
        but(id=""),
        but(id=7),
        but(source=None),
        but(type=None),
        but(specversion=None),
        but(specversion="0.3"),
        but(specversion="2.0"),
        but(time="yesterday"),
        but(time="2026-01-02T03:04:05"),
        but(time=5),
        but(subject=7),
        but(id="\x00"),
        but(subject="\x00"),
        but(source="\ud800"),
        but(id="x" * 513),
        but(source="차" * 171),
        but(subject="x" * 1025),
        but(**{"Not-Legal": "x"}),
        but(data=None, data_base64="%%%"),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(body: bytes) -> None:
    with pytest.raises(RefusedEvent) as refused:
        cloudevents.from_nats({}, body)
    assert refused.value.error_code == "INVALID_EVENT"
    assert refused.value.message


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, but()),
        ({"content-type": "text/plain"}, but()),
        ({"content-type": "application/json"}, BODY),
        ({"content-type": BATCH}, but()),
        ({"content-type": BATCH}, b"[1]"),
        ({"content-type": BATCH}, b"[" * 100_000),
        ({"ce-id": "1", "ce-source": "s"}, BODY),
        ({**BINARY, "ce-time": "now"}, BODY),
    ],
)
def test_what_is_no_event_over_http_is_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(RefusedEvent):
        cloudevents.from_http(headers, body)


def test_a_batch_over_nats_is_refused() -> None:
    with pytest.raises(RefusedEvent, match="each event on its own"):
        cloudevents.from_nats({"content-type": BATCH}, b"[]")


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        ({}, but(type="other"), {"id": "1", "source": "/wiki", "type": "other", "subject": "녹차"}),
        ({"ce-id": "a%20b", "ce-source": "s"}, b"", {"id": "a b", "source": "s"}),
        ({}, but(id="\x00", source="x" * 513, subject="", type="t"), {"type": "t"}),
        ({}, b"[1]", {}),
        ({}, b"\xff", {}),
        ({}, b"[" * 100_000, {}),
    ],
)
def test_the_sender_of_what_is_no_event_is_told_what_could_be_read(
    headers: dict[str, str], body: bytes, told: dict[str, str]
) -> None:
    assert cloudevents.named(headers, body) == told
