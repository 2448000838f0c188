"""Who waits for documents hears of each end, even where an event never comes."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aperag_cli.client import following
from aperag_cli.client.api import connect
from aperag_cli.client.http import Target
from aperag_cli.client.tracks import Tracks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Gateway:
    """Tells ``events`` and then nothing; answers for its documents by id or as a list."""

    def __init__(self, *documents: str) -> None:
        self.documents = {name: self._document(name, "PENDING") for name in documents}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.read: list[str] = []
        self.deleted = False

    def _document(self, name: str, status: str) -> dict[str, Any]:
        index = {"vector_index_status": "PENDING", "fulltext_index_status": "PENDING"}
        return {"id": name, "name": f"{name}.md", "status": status, **index}

    def settle(self, name: str, status: str) -> None:
        self.documents[name] = self._document(name, status)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        *_, last = request.url.path.split("/")
        if last == "events":
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=self._stream())
        self.read.append(last)
        if last == "documents":
            return httpx.Response(200, json={"items": list(self.documents.values())})
        if last in self.documents and not self.deleted:
            return httpx.Response(200, json=self.documents[last])
        return httpx.Response(404, json={"message": "Document not found"})

    async def _stream(self) -> AsyncIterator[bytes]:
        yield b"id: 1-1\n\n"
        for type_, data in self.events:
            yield f"event: {type_}\ndata: {json.dumps({'data': data})}\n\n".encode()
        await asyncio.Event().wait()


@asynccontextmanager
async def waiting(gateway: Gateway) -> AsyncIterator[Tracks]:
    """To the end, at most a moment long."""
    target = Target("http://gateway", "sk-1")
    tracks = Tracks()
    tracks.read([dict(it, status="PENDING") for it in gateway.documents.values()])
    async with connect(target, transport=httpx.MockTransport(gateway)) as api, api.events() as events:
        async with asyncio.timeout(20):
            async for _ in following.follow(api, "col1", tracks, events):
                pass
        yield tracks


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SILENCE", 0.05)


async def test_events_alone_end_the_waiting() -> None:
    gateway = Gateway("doc1")
    gateway.events = [("document.indexed", {"document_id": "doc1", "outcome": "SUCCESS"})]
    async with waiting(gateway) as tracks:
        assert (tracks.failures, gateway.read) == ([], [])


@pytest.mark.usefixtures("impatient")
async def test_a_missed_event_is_made_up_for_by_reading_the_state() -> None:
    gateway = Gateway("doc1", "doc2")
    gateway.settle("doc1", "COMPLETE")
    gateway.settle("doc2", "FAILED")
    async with waiting(gateway) as tracks:
        assert [track.document_id for track in tracks.failures] == ["doc2"]


@pytest.mark.usefixtures("impatient")
async def test_many_documents_are_read_as_a_list() -> None:
    gateway = Gateway(*(f"doc{number}" for number in range(following.FEW + 1)))
    for name in gateway.documents:
        gateway.settle(name, "COMPLETE")
    async with waiting(gateway):
        assert gateway.read == ["documents"]


@pytest.mark.usefixtures("impatient")
async def test_a_document_that_is_gone_is_not_waited_for() -> None:
    gateway = Gateway("doc1")
    gateway.deleted = True
    async with waiting(gateway) as tracks:
        assert [track.failure for track in tracks.failures] == ["it was deleted"]


@pytest.mark.usefixtures("impatient")
async def test_a_look_that_finds_nothing_new_tells_nothing() -> None:
    gateway = Gateway("doc1")
    tracks = Tracks()
    tracks.read(gateway.documents.values())
    async with connect(Target("http://gateway", "sk-1"), transport=httpx.MockTransport(gateway)) as api:
        assert await following.read(api, "col1", tracks) == []
        gateway.settle("doc1", "COMPLETE")
        assert await following.read(api, "col1", tracks) == [tracks.by_id["doc1"]]


async def test_a_reset_reads_the_state_at_once() -> None:
    gateway = Gateway("doc1")
    gateway.settle("doc1", "COMPLETE")
    gateway.events = [("reset", {})]
    async with waiting(gateway) as tracks:
        assert (tracks.all_settled, gateway.read) == (True, ["doc1"])
