"""One question of a chat is one trace, from the request to the search that its tool makes, without any collector."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from aperag_testing.conversation import Talk
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from aperag_testing.client import Client

pytestmark = pytest.mark.timeout(180)

QUESTION = "POST /api/v1/bots/{bot_id}/chats/{chat_id}/turns"
COMMAND = "aperag.turn.run"
SEARCH = "POST /api/v1/collections/{collection_id}/searches"

# Each span below with its service, and what it was made for; what no search has to do with is left out.
PATH = [
    ("api", QUESTION),
    ("api", f"publish {COMMAND}"),
    ("agent", f"process {COMMAND}"),
    ("agent", "execute_tool search_collection"),
    ("mcp", "tools/call search_collection"),
    ("mcp", "POST"),
    ("api", SEARCH),
]
MODEL_CALL = ("agent", "chat extractive")


def shown(span: dict[str, Any]) -> tuple[str, str]:
    return span["service"], span["name"]


def path_to(span: dict[str, Any], spans: list[dict[str, Any]]) -> list[tuple[str, str]]:
    by_id = {it["span_id"]: it for it in spans}
    path = [shown(span)]
    while (parent := by_id.get(span["parent_id"])) is not None:
        span = parent
        path.insert(0, shown(span))
    return path


async def whole(client: Client, trace_id: str) -> list[dict[str, Any]]:
    """Spans come in batches, from four services; those that ended first come first."""
    seen: list[dict[str, Any]] = []

    async def complete() -> bool:
        answer = await client.http.get(f"/traces/{trace_id}")
        seen[:] = answer.json()["spans"] if answer.is_success else []
        return {*PATH, MODEL_CALL} <= {shown(span) for span in seen}

    try:
        await until(complete)
    except AssertionError:
        raise AssertionError(Counter(shown(span) for span in seen)) from None
    return seen


async def test_a_question_and_all_that_is_done_for_it_are_one_trace(client: Client) -> None:
    collection = await client.collection("Tea")
    [document] = await client.upload(collection, {"tea.md": b"Green tea is brewed at 75 degrees."})
    body = {"query": "green", "fulltext_search": {}, "wait_for": [document["id"]], "wait_ms": 10_000}
    await client.json("POST", f"/collections/{collection}/searches", json=body)
    talk = await Talk.begin(client)
    turn, _ = await talk.answered("How hot is green tea brewed?", collections=[{"id": collection}])
    assert turn["state"] == "answered", turn
    spans = await whole(client, turn["trace_id"])
    assert {span["trace_id"] for span in spans} == {turn["trace_id"]}
    assert [shown(span) for span in spans if span["parent_id"] is None] == [PATH[0]]
    assert [path_to(span, spans) for span in spans if shown(span) == PATH[-1]] == [PATH]
    called = [path_to(span, spans) for span in spans if shown(span) == MODEL_CALL]
    assert called == [[*PATH[:3], MODEL_CALL]] * turn["usage"]["requests"]
