"""Requests to the gateway: one pool of connections for the process, each request with its own person's credential."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from aperag_common import gateway
from aperag_common.telemetry import propagate
from aperag_console.gateway.failures import LOST, NO_ANSWER, GatewayFailure, failure_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Mapping

    from aperag_console.gateway.credentials import Credential
    from aperag_console.settings import Settings

CONNECT_SECONDS = 5.0
SECONDS = 30.0
UPLOAD_SECONDS = 600.0
SILENCE_SECONDS = 45.0
"""Longest pause of an event stream: the gateway sends a comment every 15 s."""
ACCEPT = "application/json, application/problem+json"


@dataclass(frozen=True, slots=True)
class Gateway:
    """The shared connections; ``acting_as`` gives the view of one person."""

    http: httpx.AsyncClient

    def acting_as(self, credential: Credential | None, *, client: str = "") -> Api:
        """``client`` is the address of the person's browser, which the gateway counts failed sign-ins by."""
        return Api(self.http, credential, client)

    async def check(self) -> str | None:
        return await gateway.check(self.http)


@dataclass(frozen=True, slots=True)
class Api:
    """The gateway's REST API as one person may use it. Each method raises ``GatewayFailure`` on any other answer."""

    http: httpx.AsyncClient
    credential: Credential | None
    client: str = ""

    async def get(self, *path: str, **params: Any) -> Any:
        known = {name: value for name, value in params.items() if value not in {None, ""}}
        return _json(await self.send("GET", *path, params=known))

    async def post(self, *path: str, body: Any = None) -> Any:
        return _json(await self.send("POST", *path, json={} if body is None else body))

    async def put(self, *path: str, body: Any) -> Any:
        return _json(await self.send("PUT", *path, json=body))

    async def delete(self, *path: str, body: Any = None) -> Any:
        return _json(await self.send("DELETE", *path, **({} if body is None else {"json": body})))

    async def upload(self, *path: str, content: AsyncIterable[bytes], headers: Mapping[str, str]) -> httpx.Response:
        """The body of a form with files, passed on while it arrives."""
        timeout = httpx.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS)
        return await self.send("POST", *path, content=content, headers=headers, timeout=timeout)

    async def send(self, method: str, *path: str, **request: Any) -> httpx.Response:
        timeout = request.pop("timeout", httpx.Timeout(SECONDS, connect=CONNECT_SECONDS))
        headers = self._headers(request.pop("headers", {}))
        return await self._sent(method, _url(path), headers=headers, timeout=timeout, **request)

    @asynccontextmanager
    async def stream(
        self, *path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """An answer that is read while it arrives, for as long as it says anything."""
        timeout = httpx.Timeout(SECONDS, connect=CONNECT_SECONDS, read=SILENCE_SECONDS)
        sent = self._headers({"Accept-Encoding": "identity", **(headers or {})})  # it is passed on as it comes
        try:
            async with self.http.stream(
                "GET", _url(path), params=params or {}, headers=sent, timeout=timeout
            ) as answer:
                if not answer.is_success:
                    raise failure_of(answer.status_code, await answer.aread(), answer.headers)
                yield answer
        except httpx.HTTPError as err:
            raise _lost(err) from err

    async def describe(self, path: str) -> httpx.Response:
        """A page of the gateway outside its API; ``path`` is one of ours, nobody's input."""
        return await self._sent("GET", path, headers=self._headers({}), timeout=httpx.Timeout(SECONDS))

    async def _sent(self, method: str, url: str, **request: Any) -> httpx.Response:
        try:
            answer = await self.http.request(method, url, **request)
        except httpx.HTTPError as err:
            raise _lost(err) from err
        if not answer.is_success:
            raise failure_of(answer.status_code, answer.content, answer.headers)
        return answer

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        own = self.credential.headers() if self.credential else {}
        forwarded = {"X-Forwarded-For": self.client} if self.client else {}
        return {**propagate.inject(), **own, **forwarded, **more}


def _url(path: tuple[str, ...]) -> str:
    """Ids come from addresses that people may write: none of them changes the meaning of the path."""
    return "/api/v1/" + "/".join(quote(part, safe="") for part in path)


def _lost(err: httpx.HTTPError) -> GatewayFailure:
    return GatewayFailure(NO_ANSWER if isinstance(err, httpx.ConnectError | httpx.TimeoutException) else LOST)


def _json(answer: httpx.Response) -> Any:
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError as err:
        raise GatewayFailure(NO_ANSWER) from err


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Gateway]:
    async with gateway.connections(settings.api_url, accept=ACCEPT, most=settings.console_connections) as http:
        yield Gateway(http)
