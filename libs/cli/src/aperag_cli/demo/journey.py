"""The way the demonstration goes: upload, watch, search."""

from __future__ import annotations

import asyncio
import mimetypes
from typing import TYPE_CHECKING, Any

from aperag_cli.client.following import follow
from aperag_cli.client.tracks import Tracks
from aperag_cli.demo import samples
from aperag_cli.demo.errors import DemoFailed
from aperag_cli.demo.view import Bars, hits_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from aperag_cli.client.api import Api
    from aperag_cli.client.events import Subscription
    from aperag_cli.demo.samples import Question

TITLE = "ApeRAG demo"
DESCRIPTION = "Sample documents in English, Korean and Chinese"
PATIENCE = 180.0
FIRST_HITS = 3
WAIT_MS = 10_000
CONFIG = {"source": "system", "enable_knowledge_graph": False, "language": "en-US"}


class Journey:
    """One run of the demonstration against a gateway."""

    def __init__(self, console: Console, api: Api) -> None:
        self._console = console
        self._api = api

    async def run(self) -> None:
        """Raises ``DemoFailed`` where a document fails or a search misses what it must find."""
        collection = await self._collection()
        documents = await self._ingest(collection)
        for question in samples.QUESTIONS:
            await self._ask(collection, question, wait_for=documents)

    async def _collection(self) -> str:
        """The id of the demonstration's collection, made where there is none."""
        for found in await self._api.collections():
            if found["title"] == TITLE:
                return str(found["id"])
        return str((await self._api.create_collection(TITLE, description=DESCRIPTION, config=CONFIG))["id"])

    async def _ingest(self, collection: str) -> list[str]:
        """The ids of the sample documents, all searchable."""
        paths = samples.documents()
        there = {document["name"]: document for document in await self._living(collection)}
        missing = [path for path in paths if path.name not in there]
        known = [there[path.name] for path in paths if path.name in there]
        if known:
            self._console.print(f"{len(known)} of {len(paths)} sample documents are there already.")
        async with self._api.events() as events:
            tracks = Tracks()
            tracks.read(known)
            tracks.read(await self._upload(collection, missing))
            await self._watch(collection, tracks, events)
        if tracks.failures:
            reasons = "\n  ".join(f"{track.name}: {track.failure}" for track in tracks.failures)
            message = f"{len(tracks.failures)} documents did not become searchable"
            raise DemoFailed(message, hint=f"{reasons}\n  see `aperag logs indexer`")
        return list(tracks.by_id)

    async def _living(self, collection: str) -> list[dict[str, Any]]:
        """What an earlier run left; what failed then is taken out, so that it gets another chance."""
        documents = await self._api.documents(collection)
        for document in documents:
            if document["status"] == "FAILED":
                await self._api.delete_document(collection, document["id"])
        return [document for document in documents if document["status"] != "FAILED"]

    async def _upload(self, collection: str, paths: Sequence[Path]) -> list[dict[str, Any]]:
        if not paths:
            return []
        self._console.print(f"Uploading {len(paths)} sample documents …")
        parts = [(path.name, path.open("rb"), _media_type(path)) for path in paths]
        try:
            return await self._api.upload(collection, parts)
        finally:
            for _, content, _ in parts:
                content.close()

    async def _watch(self, collection: str, tracks: Tracks, events: Subscription) -> None:
        if tracks.all_settled:
            return
        with Bars(self._console, tracks) as bars:
            try:
                async with asyncio.timeout(PATIENCE):
                    async for _ in follow(self._api, collection, tracks, events):
                        bars.show()
            except TimeoutError as err:
                waiting = ", ".join(track.name for track in tracks.by_id.values() if not track.settled)
                message = f"not searchable after {PATIENCE:.0f} s: {waiting}"
                raise DemoFailed(message, hint="see `aperag logs indexer`") from err

    async def _ask(self, collection: str, question: Question, *, wait_for: Sequence[str]) -> None:
        legs = {"vector_search": {"topk": 3}, "fulltext_search": {"topk": 3}}
        wait = {"wait_for": list(wait_for), "wait_ms": WAIT_MS}
        body = {"query": question.query, **legs, **wait, "save_to_history": False}
        answer = await self._api.search(collection, body)
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


def _media_type(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"
