"""One trace from the upload request to the activated indexes, read through the gateway."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from aperag_testing.client import Client
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(120)

REQUEST = "POST /api/v1/collections/{collection_id}/documents"
PARSE = "aperag.cmd.document.parse"
BUILDS = ("aperag.cmd.index.build.vector", "aperag.cmd.index.build.fulltext")
ACTIVATED = "publish aperag.evt.index.activated"

# Each span's name and service, and the same of its parent: the whole shape, statements of the database left out.
SHAPE = Counter(
    [
        ((REQUEST, "api"), None),
        ((f"publish {PARSE}", "api"), (REQUEST, "api")),
        (("publish aperag.evt.document.uploaded", "api"), (REQUEST, "api")),
        ((f"process {PARSE}", "indexer"), (f"publish {PARSE}", "api")),
        (("publish aperag.evt.document.parsed", "indexer"), (f"process {PARSE}", "indexer")),
        *(((f"publish {build}", "indexer"), (REQUEST, "api")) for build in BUILDS),
        *(((f"process {build}", "indexer"), (f"publish {build}", "indexer")) for build in BUILDS),
        *(((ACTIVATED, "indexer"), (f"process {build}", "indexer")) for build in BUILDS),
    ]
)
LAST = "publish aperag.evt.document.indexed"


@dataclass(frozen=True)
class Trace:
    spans: list[dict[str, Any]]

    @cached_property
    def by_id(self) -> dict[str, dict[str, Any]]:
        return {span["span_id"]: span for span in self.spans}

    def parent(self, span: dict[str, Any]) -> dict[str, Any] | None:
        return self.by_id.get(span["parent_id"])

    @property
    def shape(self) -> Counter[Any]:
        parents = [(span, self.parent(span)) for span in self.spans if "db.operation" not in span["attributes"]]
        return Counter(
            ((span["name"], span["service"]), parent and (parent["name"], parent["service"]))
            for span, parent in parents
            if span["name"] != LAST
        )

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"] == name]

    def statements_of(self, span: dict[str, Any]) -> list[dict[str, Any]]:
        own = (other for other in self.spans if other["parent_id"] == span["span_id"])
        return [other for other in own if "db.operation" in other["attributes"]]


async def read_whole(client: Client, trace_id: str) -> Trace:
    """Spans arrive a moment after they ended; the trace is whole with all that ``SHAPE`` names."""
    seen = Trace([])

    async def whole() -> bool:
        nonlocal seen
        answer = await client.http.get(f"/traces/{trace_id}")
        seen = Trace(answer.json()["spans"] if answer.is_success else [])
        return sum(seen.shape.values()) >= sum(SHAPE.values()) and bool(seen.named(LAST))

    try:
        await until(whole)
    except AssertionError:
        assert seen.shape == SHAPE, "the trace is not whole"
        raise
    return seen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trace(stack: Stack) -> Trace:
    """Of an upload that has been indexed."""
    async with Client(stack.url, stack.api_key) as client:
        collection = await client.collection()
        async with client.events() as log:
            (document,) = await client.upload(collection, {"tides.txt": b"The moon pulls the sea twice a day."})
            await log.until_ended(document["task_id"])
        task = await client.json("GET", f"/tasks/{document['task_id']}")
        return await read_whole(client, task["trace_id"])


def test_request_publishes_and_processing_are_one_tree(trace: Trace) -> None:
    assert trace.shape == SHAPE
    assert len({span["trace_id"] for span in trace.spans}) == 1
    roots = [span["name"] for span in trace.spans if trace.parent(span) is None]
    assert roots == [REQUEST]
    (last,) = trace.named(LAST)
    closing = trace.parent(last)
    assert closing is not None
    assert closing["name"] in {f"process {build}" for build in BUILDS}


def test_each_step_shows_its_statements_but_not_their_text(trace: Trace) -> None:
    for name in (REQUEST, f"process {PARSE}", *(f"process {build}" for build in BUILDS)):
        (span,) = trace.named(name)
        statements = trace.statements_of(span)
        assert {"INSERT", "UPDATE"} & {statement["attributes"]["db.operation"] for statement in statements}, name
        assert all(statement["attributes"].keys() == {"db.operation"} for statement in statements)


def test_every_attempt_says_how_often_it_was_delivered_and_how_it_ended(trace: Trace) -> None:
    for name in (f"process {PARSE}", *(f"process {build}" for build in BUILDS)):
        (span,) = trace.named(name)
        assert span["kind"] == "consumer"
        assert span["attributes"]["messaging.nats.num_delivered"] == 1
        assert span["attributes"]["aperag.outcome"] == "done"


def test_no_span_begins_before_its_parent(trace: Trace) -> None:
    for span in trace.spans:
        parent = trace.parent(span)
        assert span["end"] >= span["start"]
        assert parent is None or span["start"] >= parent["start"]
