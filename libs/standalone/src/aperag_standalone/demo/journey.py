"""The way the demonstration goes: upload, watch, search."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from aperag_standalone.demo import samples
from aperag_standalone.demo.client import DemoFailed
from aperag_standalone.demo.tracks import Tracks
from aperag_standalone.demo.view import Bars, hits_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from aperag_standalone.demo.client import ApiClient, Event
    from aperag_standalone.demo.samples import Question

TITLE = "ApeRAG demo"
DESCRIPTION = "Sample documents in English, Korean and Chinese"
PATIENCE = 180.0
SILENCE = 15.0
"""Seconds without an event after which the state is read, in case one was missed."""
FIRST_HITS = 3


class Journey:
    """One run of the demonstration against a gateway."""

    def __init__(self, console: Console, client: ApiClient) -> None:
        self._console = console
        self._client = client

    async def run(self) -> None:
        """Raises ``DemoFailed`` where a document fails or a search misses what it must find."""
        collection = await self._client.collection(TITLE, DESCRIPTION)
        documents = await self._ingest(collection)
        for question in samples.QUESTIONS:
            await self._ask(collection, question, wait_for=documents)

    async def _ingest(self, collection: str) -> list[str]:
        """The ids of the sample documents, all searchable."""
        paths = samples.documents()
        there = {document["name"]: document for document in await self._living(collection)}
        missing = [path for path in paths if path.name not in there]
        known = [there[path.name] for path in paths if path.name in there]
        if known:
            self._console.print(f"{len(known)} of {len(paths)} sample documents are there already.")
        async with self._client.events() as events, _queued(events) as queue:
            tracks = Tracks()
            tracks.read(known)
            tracks.read(await self._upload(collection, missing))
            await self._watch(collection, tracks, queue)
        if tracks.failures:
            reasons = "\n  ".join(f"{track.name}: {track.failure}" for track in tracks.failures)
            message = f"{len(tracks.failures)} documents did not become searchable"
            raise DemoFailed(message, hint=f"{reasons}\n  see `aperag logs indexer`")
        return list(tracks.by_id)

    async def _living(self, collection: str) -> list[dict[str, Any]]:
        """What an earlier run left; what failed then is taken out, so that it gets another chance."""
        documents = await self._client.documents(collection)
        for document in documents:
            if document["status"] == "FAILED":
                await self._client.delete(collection, document["id"])
        return [document for document in documents if document["status"] != "FAILED"]

    async def _upload(self, collection: str, paths: Sequence[Path]) -> list[dict[str, Any]]:
        if not paths:
            return []
        self._console.print(f"Uploading {len(paths)} sample documents …")
        return await self._client.upload(collection, paths)

    async def _watch(self, collection: str, tracks: Tracks, queue: asyncio.Queue[Event]) -> None:
        if tracks.all_settled:
            return
        with Bars(self._console, tracks) as bars:
            try:
                async with asyncio.timeout(PATIENCE):
                    while not tracks.all_settled:
                        await self._take_news(collection, tracks, queue)
                        bars.show()
            except TimeoutError as err:
                waiting = ", ".join(track.name for track in tracks.by_id.values() if not track.settled)
                message = f"not searchable after {PATIENCE:.0f} s: {waiting}"
                raise DemoFailed(message, hint="see `aperag logs indexer`") from err

    async def _take_news(self, collection: str, tracks: Tracks, queue: asyncio.Queue[Event]) -> None:
        try:
            event = await asyncio.wait_for(queue.get(), SILENCE)
        except TimeoutError:
            event = None
        if event is None or event.type == "reset":
            documents = await self._client.documents(collection)
            tracks.read(document for document in documents if document["id"] in tracks.by_id)
        else:
            tracks.apply(event)

    async def _ask(self, collection: str, question: Question, *, wait_for: Sequence[str]) -> None:
        answer = await self._client.search(collection, question.query, wait_for=wait_for)
        self._console.print(hits_table(question, answer["items"]))
        problems = [f"{leg}: {error}" for leg, error in answer.get("errors", {}).items()]
        if answer.get("not_searchable"):
            problems.append(f"not searchable: {', '.join(answer['not_searchable'])}")
        if problems:
            message = f"the search {question.query!r} was not whole"
            raise DemoFailed(message, hint="; ".join(problems))
        found = [item["source"] for item in answer["items"][:FIRST_HITS]]
        if question.expects not in found:
            message = f"the search {question.query!r} did not find {question.expects} among its first {FIRST_HITS} hits"
            raise DemoFailed(message, hint=f"it found {', '.join(found) or 'nothing'}")


@asynccontextmanager
async def _queued(events: AsyncIterator[Event]) -> AsyncIterator[asyncio.Queue[Event]]:
    """Read events in the background, so that waiting for one can be given up without losing it.

    An event that cannot be read is raised when the block ends: the bars would else only look slow.
    """
    queue: asyncio.Queue[Event] = asyncio.Queue()

    async def pump() -> None:
        async for event in events:
            queue.put_nowait(event)

    reading = asyncio.create_task(pump())
    try:
        yield queue
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
