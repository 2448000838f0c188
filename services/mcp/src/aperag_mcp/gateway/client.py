"""Requests to the gateway: one pool of connections for the process, each request as its own caller."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from aperag_common import gateway
from aperag_common.telemetry import propagate
from aperag_mcp.gateway.credentials import Credentials
from aperag_mcp.gateway.failures import NO_ANSWER, GatewayFailure, failure_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_mcp.settings import Settings

ACCEPT = "application/json, application/problem+json"
CONNECT_SECONDS = 5.0
SECONDS = 30.0
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Gateway:
    """Each method raises ``GatewayFailure`` where the answer is none that was asked for."""

    http: httpx.AsyncClient
    credentials: Credentials

    async def get(self, *path: str, params: dict[str, Any] | None = None, seconds: float = SECONDS) -> Any:
        return _json(await self._send("GET", path, seconds, params=params or {}))

    async def post(self, *path: str, body: Any, seconds: float = SECONDS) -> Any:
        return _json(await self._send("POST", path, seconds, json=body))

    async def upload(self, *path: str, name: str, content: bytes, seconds: float = SECONDS) -> Any:
        files = [("files", (name, content, "application/octet-stream"))]
        return _json(await self._send("POST", path, seconds, files=files))

    async def bytes(self, *path: str, params: dict[str, Any], start: int, end: int) -> httpx.Response:
        """The bytes from ``start`` up to, not including, ``end``, as far as there are any."""
        wanted = {"Range": f"bytes={start}-{end - 1}"}
        return await self._send("GET", path, SECONDS, params=params, headers=wanted)

    async def check(self) -> str | None:
        return await gateway.check(self.http)

    async def _send(self, method: str, path: tuple[str, ...], seconds: float, **request: Any) -> httpx.Response:
        headers = {**self.credentials.headers(), **propagate.inject(), **request.pop("headers", {})}
        timeout = httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
        url = "/api/v1/" + "/".join(path)
        try:
            answer = await self._twice(method, url, headers=headers, timeout=timeout, **request)
        except httpx.ConnectError as err:
            raise GatewayFailure(NO_ANSWER) from err
        except httpx.TimeoutException as err:
            message = f"The gateway did not answer within {seconds:g} s. Try again later, or ask for less."
            raise GatewayFailure(message) from err
        except httpx.HTTPError as err:
            raise GatewayFailure("The connection to the gateway was lost. Try again.") from err
        if not answer.is_success:
            raise failure_of(answer.status_code, answer.content, answer.headers)
        return answer

    async def _twice(self, method: str, url: str, **request: Any) -> httpx.Response:
        """Again where the gateway closed the connection instead of answering.

        Every request here may be repeated: it reads, or adds what a repetition finds added.
        """
        try:
            return await self.http.request(method, url, **request)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await self.http.request(method, url, **request)


def id_of(kind: str, value: str) -> str:
    """``value`` as a part of a path; what could never be an id is refused before it can change the path's meaning."""
    if _ID.fullmatch(value):
        return value
    message = (
        f"{value[:80]!r} is no id of a {kind}: ids look like {kind[:3]}0123456789abcdef, titles and names are none."
    )
    remedy = {"collection": "Call list_collections for them.", "document": "Call list_documents for them."}
    raise GatewayFailure(f"{message} {remedy.get(kind, '')}".strip())


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Gateway]:
    async with gateway.connections(settings.api_url, accept=ACCEPT, most=settings.mcp_connections) as http:
        yield Gateway(http, Credentials(settings.api_key))


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as err:
        message = "The gateway's answer is no JSON: its address (APERAG_API_URL) may be wrong."
        raise GatewayFailure(message, status=HTTPStatus(answer.status_code)) from err
