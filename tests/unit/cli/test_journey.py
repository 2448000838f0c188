"""The demonstration fails loudly where a document or a search does, and ingests nothing twice."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from rich.console import Console

from aperag_cli.client.api import connect
from aperag_cli.client.http import Target
from aperag_cli.demo import samples
from aperag_cli.demo.errors import DemoFailed
from aperag_cli.demo.journey import TITLE, Journey

NAMES = [path.name for path in samples.documents()]


class FakeGateway:
    """Answers as the contract says; ``outcomes`` names the documents that do not end well."""

    def __init__(self) -> None:
        self.collections: list[dict[str, Any]] = []
        self.documents: dict[str, dict[str, Any]] = {}
        self.outcomes: dict[str, str] = {}
        self.hits = {question.query: question.expects for question in samples.QUESTIONS}
        self.errors: dict[str, str] = {}
        self.uploads: list[list[str]] = []
        self.searches: list[dict[str, Any]] = []

    def add(self, name: str, status: str) -> dict[str, Any]:
        index = "ACTIVE" if status == "COMPLETE" else "PENDING"
        document = {"id": f"doc-{name}", "name": name, "status": status}
        self.documents[name] = document | {"vector_index_status": index, "fulltext_index_status": index}
        return self.documents[name]

    def __call__(self, request: httpx.Request) -> httpx.Response:  # noqa: PLR0911  one per route
        path = request.url.path.removeprefix("/api/v1")
        match request.method, path.split("/")[1:]:
            case "GET", ["events"]:
                return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=self._events())
            case "GET", ["collections"]:
                return httpx.Response(200, json={"items": self.collections})
            case "POST", ["collections"]:
                self.collections.append({"id": "col1", "title": json.loads(request.content)["title"]})
                return httpx.Response(200, json=self.collections[-1])
            case "GET", ["collections", "col1", "documents"]:
                return httpx.Response(200, json={"items": list(self.documents.values())})
            case "POST", ["collections", "col1", "documents"]:
                return self._upload(request)
            case "DELETE", ["collections", "col1", "documents", document_id]:
                return httpx.Response(200, json=self.documents.pop(document_id.removeprefix("doc-")))
            case "POST", ["collections", "col1", "searches"]:
                return self._search(json.loads(request.content))
            case _:
                return httpx.Response(404, json={"detail": "no such route"})

    def _upload(self, request: httpx.Request) -> httpx.Response:
        names = [name for name in NAMES if f'filename="{name}"'.encode() in request.content]
        self.uploads.append(names)
        return httpx.Response(200, json={"items": [self.add(name, "PENDING") for name in names]})

    def _search(self, body: dict[str, Any]) -> httpx.Response:
        self.searches.append(body)
        hit = {"rank": 1, "score": 1.0, "content": "[bold]text", "source": self.hits[body["query"]]}
        return httpx.Response(200, json={"items": [hit | {"recall_type": "vector_search"}], "errors": self.errors})

    async def _events(self) -> Any:
        """What happens after the upload; asked for before it. The gateway begins with a block that has no data."""
        yield b"retry: 1000\nid: 1-0\n\n"
        for name in NAMES:
            outcome = self.outcomes.get(name, "SUCCESS")
            data = {"document_id": f"doc-{name}", "outcome": outcome, "error_message": "why it failed"}
            yield f"event: document.indexed\ndata: {json.dumps({'data': data})}\n\n".encode()


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


async def travel(gateway: FakeGateway) -> str:
    shown = io.StringIO()
    async with connect(Target("http://gateway", "sk-1"), transport=httpx.MockTransport(gateway)) as api:
        await Journey(Console(file=shown, width=120), api).run()
    return shown.getvalue()


async def test_every_sample_is_uploaded_and_every_search_waits_for_them(gateway: FakeGateway) -> None:
    shown = await travel(gateway)
    assert gateway.uploads == [NAMES]
    assert [collection["title"] for collection in gateway.collections] == [TITLE]
    assert all(set(search["wait_for"]) == {f"doc-{name}" for name in NAMES} for search in gateway.searches)
    assert all(question.query in shown for question in samples.QUESTIONS)
    assert "[bold]text" in shown


async def test_a_second_run_uploads_nothing(gateway: FakeGateway) -> None:
    gateway.collections.append({"id": "col1", "title": TITLE})
    for name in NAMES:
        gateway.add(name, "COMPLETE")
    assert "there already" in await travel(gateway)
    assert gateway.uploads == []


async def test_what_failed_in_an_earlier_run_is_uploaded_again(gateway: FakeGateway) -> None:
    gateway.collections.append({"id": "col1", "title": TITLE})
    for name in NAMES:
        gateway.add(name, "COMPLETE")
    gateway.add(NAMES[0], "FAILED")
    await travel(gateway)
    assert gateway.uploads == [[NAMES[0]]]


async def test_a_failed_document_fails_the_demonstration_with_its_reason(gateway: FakeGateway) -> None:
    gateway.outcomes[NAMES[1]] = "FAILED"
    with pytest.raises(DemoFailed, match="1 documents did not become searchable") as caught:
        await travel(gateway)
    assert f"{NAMES[1]}: why it failed" in caught.value.hint
    assert gateway.searches == []


async def test_a_search_that_misses_its_document_fails_the_demonstration(gateway: FakeGateway) -> None:
    gateway.hits[samples.QUESTIONS[0].query] = "something-else.md"
    with pytest.raises(DemoFailed, match=f"did not find {samples.QUESTIONS[0].expects}"):
        await travel(gateway)


async def test_a_leg_that_failed_fails_the_demonstration(gateway: FakeGateway) -> None:
    gateway.errors = {"fulltext_search": "database away"}
    with pytest.raises(DemoFailed, match="was not whole") as caught:
        await travel(gateway)
    assert "fulltext_search: database away" in caught.value.hint
