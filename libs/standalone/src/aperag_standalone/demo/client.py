"""The gateway as the demonstration uses it: nothing but the public contract."""

from __future__ import annotations

import contextlib
import json
import mimetypes
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from httpx_sse import aconnect_sse

from aperag_standalone.errors import StandaloneError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

TIMEOUT = httpx.Timeout(30.0, read=60.0)
PAGE = 100
WAIT_MS = 10_000


class DemoFailed(StandaloneError):
    """The demonstration did not show what it promises."""


@dataclass(frozen=True, slots=True)
class Event:
    """``type`` is ``<aggregate>.<fact>``, or ``reset`` where events were missed."""

    type: str
    data: dict[str, Any]


class ApiClient:
    """Every refused request is a ``DemoFailed`` with the gateway's own words."""

    def __init__(self, url: str, api_key: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"{url}/api/v1",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=TIMEOUT,
            transport=transport,
            trust_env=False,  # a proxy has no way to this machine's loopback
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def collection(self, title: str, description: str) -> str:
        """The id of the collection with this title, made where there is none."""
        for found in (await self._json("GET", "/collections", params={"page_size": PAGE}))["items"]:
            if found["title"] == title:
                return str(found["id"])
        config = {"source": "system", "enable_knowledge_graph": False, "language": "en-US"}
        body = {"title": title, "description": description, "type": "document", "config": config}
        return str((await self._json("POST", "/collections", json=body))["id"])

    async def documents(self, collection: str) -> list[dict[str, Any]]:
        listed = await self._json("GET", f"/collections/{collection}/documents", params={"page_size": PAGE})
        return list(listed["items"])

    async def upload(self, collection: str, paths: Sequence[Path]) -> list[dict[str, Any]]:
        parts = [("files", (path.name, path.read_bytes(), _media_type(path))) for path in paths]
        return list((await self._json("POST", f"/collections/{collection}/documents", files=parts))["items"])

    async def delete(self, collection: str, document: str) -> None:
        await self._json("DELETE", f"/collections/{collection}/documents/{document}")

    async def search(self, collection: str, query: str, *, wait_for: Sequence[str]) -> dict[str, Any]:
        body = {
            "query": query,
            "vector_search": {"topk": 3},
            "fulltext_search": {"topk": 3},
            "wait_for": list(wait_for),
            "wait_ms": WAIT_MS,
            "save_to_history": False,
        }
        return dict(await self._json("POST", f"/collections/{collection}/searches", json=body))

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[Event]]:
        """What happens from now on; entered, nothing that follows is missed while the connection holds."""
        async with aconnect_sse(self._http, "GET", "/events") as source:
            if source.response.status_code != httpx.codes.OK:
                await source.response.aread()
                _require_success(source.response)

            async def read() -> AsyncIterator[Event]:
                with contextlib.suppress(httpx.HTTPError):  # who waits for events reads the state after a silence
                    async for message in source.aiter_sse():
                        if message.data:  # a block without data only moves the position
                            yield Event(message.event, json.loads(message.data).get("data", {}))

            yield read()

    async def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            response = await self._http.request(method, path, **request)
        except httpx.HTTPError as err:
            message = f"{method} {path} was not answered: {err!r}"
            raise DemoFailed(message, hint="see `aperag logs api`") from err
        _require_success(response)
        return dict(response.json())


def _media_type(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _require_success(response: httpx.Response) -> None:
    if response.is_success:
        return
    request = response.request
    message = f"{request.method} {request.url.path} was answered {response.status_code}: {response.text.strip()}"
    raise DemoFailed(message, hint="see `aperag logs api`")
