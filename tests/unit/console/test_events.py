"""Which events a tail shows, how their stream is read, and the programs that connect to NATS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aperag_cli.commands.snippets import SNIPPETS, Connection
from aperag_common.events import facts
from aperag_console.events.tail import AGGREGATES, Event, Wanted
from aperag_console.gateway.frames import Frame, frames
from aperag_console.integrations.programs import CA_FILE, programs
from aperag_console.web.texts import texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def event(type_: str, **data: Any) -> Event:
    return Event({"id": "e1", "type": type_, "subject": "doc1", "data": data})


@pytest.mark.parametrize(
    ("type_", "collection", "shown"),
    [
        ("", "", True),
        ("document.*", "", True),
        ("document.failed", "", True),
        ("document.indexed", "", False),
        ("doc", "", False),
        ("doc*", "", False),
        ("index.*", "", False),
        ("", "col1", True),
        ("document.*", "col2", False),
    ],
)
def test_an_event_is_shown_to_whoever_asks_for_its_type_and_collection(
    type_: str, collection: str, *, shown: bool
) -> None:
    assert (event("document.failed", collection_id="col1") in Wanted(type_, collection, "now")) is shown


def test_every_noun_of_events_is_offered() -> None:
    assert set(AGGREGATES) == {fact.type_name.split(".")[0] for fact in facts.FACTS}


def test_a_row_says_what_happened_in_the_readers_words_and_where_to_look() -> None:
    failed = event("document.failed", name="tea.md", outcome="FAILED", error_code="TIMEOUT", error_message="Too late",
                   collection_id="col1", document_id="doc1", workflow_id="wf1")  # fmt: skip
    assert (failed.look, failed.about, failed.told(texts("ko"))) == ("bad", "tea.md", "실패 · TIMEOUT · Too late")
    assert (failed.document, failed.task) == ("/collections/col1/documents/doc1", "wf1")
    gone = event("document.deleted", collection_id="col1", document_id="doc1")
    assert (gone.document, gone.about) == ("", "doc1")
    assert event("user.updated", changed=["quota", "role"]).told(texts("en")) == "quota, role"


async def lines(text: str) -> AsyncIterator[str]:
    for line in text.split("\n"):
        yield line


async def test_a_stream_is_read_frame_by_frame() -> None:
    text = "retry: 1000\nid: 1-1\n\n: still here\n\nid: 1-2\nevent: document.indexed\ndata: {}\n\nid: 1-3"
    found = [frame async for frame in frames(lines(text))]
    assert found == [Frame("1-1"), Frame(), Frame("1-2", "document.indexed", "{}")], "what broke off is not told"


@pytest.mark.parametrize("authority", [None, "PEM"])
def test_programs_are_those_of_the_command_line(authority: str | None) -> None:
    access = {"servers": ["nats://a:4222", "nats://b:4222"], "inbox_prefix": "_INBOX_key1", "owner": "user1"}
    found = programs({**access, "authority": authority})
    connection = Connection(("nats://a:4222", "nats://b:4222"), "sk-x", "_INBOX_key1", "user1", authority and CA_FILE)
    for name, make in SNIPPETS.items():
        assert found[name] == make(connection)
    assert connection.options().replace("$APERAG_API_KEY", '"$APERAG_API_KEY"') in found["shell"]
    assert "sk-x" not in json.dumps(found)
