"""The gateway as a patient client uses it: public contract only, what is not accepted is tried again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import httpx
from httpx_sse import SSEError, aconnect_sse

from aperag_common.events import facts
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

ENDS = frozenset(fact.type_name for fact in facts.ENDS)
TIMEOUT = httpx.Timeout(30.0)
PATIENCE = 60.0
AGAIN_SECONDS = 0.1
UNFORESEEN = "INTERNAL_ERROR"


@dataclass(frozen=True, slots=True)
class Event:
    """``id`` is ``<epoch>-<seq>``, ``type`` is ``<aggregate>.<fact>`` or ``reset``, ``body`` the envelope."""

    id: str
    type: str
    body: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.body.get("data", {}))


@dataclass(slots=True)
class EventLog:
    """All that one reader was told, in order."""

    events: list[Event] = field(default_factory=list)
    last_id: str | None = None
    connections: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, condition: Callable[[EventLog], bool], *, within: float = PATIENCE) -> None:
        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(lambda: condition(self))
        except TimeoutError:
            told = [f"{e.id} {e.type} {e.data.get('document_id', '')}" for e in self.events[-20:]]
            message = f"not told within {within:.0f} s; the last of {len(self.events)} events: {told}"
            raise AssertionError(message) from None

    async def until_ended(self, *tasks: str, within: float = PATIENCE) -> dict[str, str]:
        """Wait for the end of these tasks; their outcomes."""
        await self.until(lambda log: set(tasks) <= log.outcomes().keys(), within=within)
        return {task: self.outcomes()[task] for task in tasks}

    def outcomes(self) -> dict[str, str]:
        """How each task ended that has."""
        ends = (event.data for event in self.events if event.type in ENDS)
        return {data["workflow_id"]: data["outcome"] for data in ends}

    def types_of(self, document_id: str) -> list[str]:
        return [event.type for event in self.events if event.data.get("document_id") == document_id]

    async def connected(self) -> None:
        async with self._changed:
            self.connections += 1
            self._changed.notify_all()

    async def take(self, id_: str, type_: str, data: str) -> None:
        async with self._changed:
            self.last_id = id_ or self.last_id
            if data:
                self.events.append(Event(id_, type_, json.loads(data)))
            self._changed.notify_all()


class Client:
    """One API key on one gateway; use as an async context manager."""

    def __init__(self, url: str, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self.http = httpx.AsyncClient(base_url=f"{url}/api/v1", headers=headers, timeout=TIMEOUT, trust_env=False)
        self.refused: Counter[str] = Counter()
        """Why ``patiently`` had to ask again, by error code or kind of lost connection."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def json(self, method: str, path: str, *, expect: int = HTTPStatus.OK, **request: Any) -> dict[str, Any]:
        response = await self.http.request(method, path, **request)
        if response.status_code != expect:
            message = f"{method} {path}: {response.status_code} {response.text}"
            raise AssertionError(message)
        return dict(response.json())

    async def collection(self, title: str = "tests") -> str:
        return str((await self.json("POST", "/collections", json={"title": title}))["id"])

    async def upload(self, collection: str, documents: Mapping[str, bytes]) -> list[dict[str, Any]]:
        """One request; the accepted documents in the order given."""
        parts = [("files", (name, body, "application/octet-stream")) for name, body in documents.items()]
        return list((await self.json("POST", f"/collections/{collection}/documents", files=parts))["items"])

    async def upload_patiently(self, collection: str, name: str, body: bytes) -> dict[str, Any]:
        """The same name and bytes again until they are accepted, as a client does whose server goes away.

        A gateway may say that what it needs is away, never that something unforeseen has happened.
        """
        parts = [("files", (name, body, "application/octet-stream"))]
        answer = await self.patiently("POST", f"/collections/{collection}/documents", files=parts)
        if not answer.is_success or self.refused[UNFORESEEN]:
            message = f"refused: {answer.status_code} {answer.text}, before that {dict(self.refused)}"
            raise AssertionError(message)
        return dict(answer.json()["items"][0])

    async def patiently(self, method: str, path: str, *, within: float = PATIENCE, **request: Any) -> httpx.Response:
        """The same request again until a gateway that is there, and has what it needs, answers it."""

        async def attempt() -> httpx.Response | None:
            try:
                answer = await self.http.request(method, path, **request)
            except httpx.TransportError as err:
                self.refused[type(err).__name__] += 1
                return None
            if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return answer
            self.refused[answer.json()["error_code"]] += 1
            return None

        answer = await until(attempt, within=within)
        assert answer is not None  # noqa: S101  ``until`` ends with a true answer
        return answer

    async def document(self, collection: str, document_id: str) -> dict[str, Any]:
        return await self.json("GET", f"/collections/{collection}/documents/{document_id}")

    async def search(
        self, collection: str, query: str, *, wait_for: Sequence[str] = (), legs: Sequence[str] = ("vector", "fulltext")
    ) -> list[dict[str, Any]]:
        """The hits of all legs; where the gateway gives up waiting, it is asked again."""
        asked = {f"{leg}_search": {"topk": 5} for leg in legs}
        body = {"query": query, "wait_for": list(wait_for), "wait_ms": 10_000, "save_to_history": False, **asked}

        async def whole() -> dict[str, Any]:
            answer = await self.json("POST", f"/collections/{collection}/searches", json=body)
            if answer["errors"]:
                message = f"not all legs worked: {answer['errors']}"
                raise AssertionError(message)
            return {} if answer["not_searchable"] else answer

        return list((await until(whole, within=PATIENCE))["items"])

    @asynccontextmanager
    async def events(self, *, after: str | None = None) -> AsyncIterator[EventLog]:
        """What happened ``after`` this event, or happens from now on; a lost connection is resumed."""
        log = EventLog(last_id=after)
        following = asyncio.create_task(self._follow(log))
        try:
            await log.until(lambda it: it.last_id is not None)
            yield log
        finally:
            following.cancel()
            await asyncio.wait({following})

    async def _follow(self, log: EventLog) -> None:
        while True:
            headers = {"Last-Event-ID": log.last_id} if log.last_id else {}
            try:
                async with aconnect_sse(self.http, "GET", "/events", headers=headers) as source:
                    await log.connected()
                    async for message in source.aiter_sse():
                        await log.take(message.id, message.event, message.data)
            except (httpx.TransportError, SSEError):  # gone, or not yet ready: an answer that is no event stream
                await asyncio.sleep(AGAIN_SECONDS)
