"""What an event asks for, whether it may, and which of two is newer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aperag_api.knowledge.ingest import decide
from aperag_api.knowledge.ingest.cloudevents import Event
from aperag_api.knowledge.ingest.decide import AHEAD, Upsert, Version
from aperag_api.knowledge.ingest.refusals import RefusedEvent
from aperag_common.events.ingest import DELETE, UPSERT
from aperag_common.jobs.steps import StepKind

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LARGEST = 10


def event(data: Any = None, **attributes: Any) -> Event:
    return replace(Event("1", "/wiki", UPSERT, "docs/tea.md", data=data), **attributes)


def upsert(data: Any, **attributes: Any) -> Upsert:
    found = decide.asked(event(data, **attributes), NOW, max_content=LARGEST).upsert
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"content": "tea"}, Upsert("tea.md", b"tea")),
        ({"name": "a/b.txt", "content": "차"}, Upsert("b.txt", "차".encode())),
        ({"name": "b.pdf", "content_base64": "AP8="}, Upsert("b.pdf", b"\x00\xff")),
        ({"reference": "https://e.org/x"}, Upsert("tea.md", reference="https://e.org/x")),
        ({"content": "x", "metadata": {"a": [1]}}, Upsert("tea.md", b"x", metadata={"a": [1]})),
        ({"content": "x", "index_types": ["VECTOR"]}, Upsert("tea.md", b"x", kinds=(StepKind.VECTOR,))),
        ({"content": "", "unknown": 1}, Upsert("tea.md", b"")),
    ],
)
def test_data_says_what_the_document_shall_be(data: dict[str, Any], wanted: Upsert) -> None:
    assert upsert(data) == wanted


def test_a_body_that_is_no_json_is_the_document() -> None:
    assert upsert("# Tea", media_type="text/markdown", subject="tea") == Upsert("tea.md", b"# Tea")
    assert upsert(b"\xff", media_type="application/pdf", subject="a/tea.pdf") == Upsert("tea.pdf", b"\xff")


def test_a_name_without_a_suffix_gets_that_of_its_media_type() -> None:
    assert upsert({"content": "x", "media_type": "text/html; charset=utf-8"}, subject="page").name == "page.html"


def test_a_delete_needs_a_subject_and_no_data() -> None:
    found = decide.asked(event(type=DELETE), NOW, max_content=LARGEST)
    assert (found.subject, found.upsert) == ("docs/tea.md", None)


@pytest.mark.parametrize(
    ("code", "data", "attributes"),
    [
        ("UNKNOWN_EVENT_TYPE", {"content": "x"}, {"type": "aperag.document.move"}),
        ("SUBJECT_MISSING", {"content": "x"}, {"subject": None}),
        ("SUBJECT_MISSING", None, {"subject": None, "type": DELETE}),
        ("TIME_IN_FUTURE", {"content": "x"}, {"time": NOW + AHEAD + timedelta(seconds=1)}),
        ("CONTENT_TOO_LARGE", {"content": "x" * (LARGEST + 1)}, {}),
        ("CONTENT_TOO_LARGE", b"x" * (LARGEST + 1), {"media_type": "text/plain"}),
        ("REFERENCE_UNSUPPORTED", {"reference": "s3://bucket/key"}, {}),
        ("REFERENCE_UNSUPPORTED", {"reference": "http://e.org"}, {}),
        ("REFERENCE_UNSUPPORTED", {"reference": "file:///etc/passwd"}, {}),
        ("INVALID_NAME", {"content": "x", "name": "x.exe"}, {}),
        ("INVALID_NAME", {"content": "x", "name": ".."}, {}),
        ("INVALID_NAME", {"content": "x"}, {"subject": "key-without-suffix"}),
        ("INVALID_EVENT", {}, {}),
        ("INVALID_EVENT", None, {}),
        ("INVALID_EVENT", [], {}),
        ("INVALID_EVENT", "text without a media type", {}),
        ("INVALID_EVENT", "{broken", {"media_type": "application/json"}),
        ("INVALID_EVENT", {"content": "x", "reference": "https://e.org"}, {}),
        ("INVALID_EVENT", {"content": 5}, {}),
        ("INVALID_EVENT", {"content_base64": "%"}, {}),
        ("INVALID_EVENT", {"content": "x", "metadata": {"a": "\x00"}}, {}),
        ("INVALID_EVENT", {"content": "x", "metadata": {"a": "x" * decide.MOST_METADATA}}, {}),
        ("INVALID_EVENT", {"content": "x", "metadata": 5}, {}),
        ("INVALID_EVENT", {"content": "x", "index_types": ["magic"]}, {}),
    ],
)
def test_every_refusal_has_its_code(code: str, data: Any, attributes: dict[str, Any]) -> None:
    with pytest.raises(RefusedEvent) as refused:
        decide.asked(event(data, **attributes), NOW, max_content=LARGEST)
    assert refused.value.error_code == code


@pytest.mark.parametrize(
    ("one", "other", "wins"),
    [
        (Version(NOW, 1), None, True),
        (Version(NOW, 1), Version(NOW - timedelta(seconds=1), 2), True),
        (Version(NOW, 2), Version(NOW, 1), True),
        (Version(NOW, 1), Version(NOW, 2), False),
        (Version(NOW, 9), Version(NOW + timedelta(microseconds=1), 2), False),
        (Version(NOW, 1), Version(NOW, 1), False),
    ],
)
def test_the_newest_wins_by_its_time_then_by_when_it_came(one: Version, other: Version | None, *, wins: bool) -> None:
    assert decide.newer(one, other) is wins
