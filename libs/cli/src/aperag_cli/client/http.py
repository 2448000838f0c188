"""Requests to a gateway; each one that fails raises one of ``client.errors``."""

from __future__ import annotations

import ipaddress
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from aperag_cli.client.errors import (
    ApiError,
    NotAGateway,
    NotAuthorised,
    NotFound,
    Refused,
    ServerFailed,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

TIMEOUT = httpx.Timeout(30.0, read=60.0)
LONG = httpx.Timeout(30.0, read=900.0)
"""Of requests that change very many rows before they are answered."""
ACCEPT = "application/json, application/problem+json"
PASSING = frozenset((429, 502, 503, 504))
"""Statuses that say, also without a body of the gateway's, that the same request may succeed later."""
MISSING = frozenset((404, 410))
CLIENT_ERRORS: dict[int, tuple[type[ApiError], str]] = {
    401: (NotAuthorised, "it may be revoked: give another one, with --api-key or APERAG_API_KEY"),
    403: (NotAuthorised, "use the key of a user who may do this"),
    404: (NotFound, "check the id: it may be deleted, or belong to another user"),
    410: (NotFound, "check the id: it may be deleted, or belong to another user"),
}
OTHER = (Refused, "change the request: the same one will be refused again")
QUOTED_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway and the key for it; ``local`` where it belongs to a stack on this machine, whose logs are at hand."""

    url: str
    api_key: str
    local: bool = False

    @property
    def remedy(self) -> str:
        """What to do when the gateway itself is at fault."""
        return "see `aperag status` and `aperag logs api`" if self.local else "ask whoever runs this gateway"


class Http:
    """The connections to one gateway; close them at the end."""

    def __init__(self, target: Target, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.target = target
        self._http = httpx.AsyncClient(
            base_url=f"{target.url}/api/v1",
            headers={"Authorization": f"Bearer {target.api_key}", "Accept": ACCEPT},
            timeout=TIMEOUT,
            transport=transport,
            trust_env=not _is_loopback(target.url),  # a proxy has no way to this machine's loopback
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def json(self, method: str, path: str, **request: Any) -> Any:
        async with self.stream(method, path, **request) as response:
            body = await response.aread()
            try:
                return json.loads(body)
            except ValueError as err:
                raise self._strange(response) from err

    @asynccontextmanager
    async def stream(self, method: str, path: str, **request: Any) -> AsyncIterator[httpx.Response]:
        """A successful answer whose body has not been read; reading it may raise what requests raise."""
        try:
            async with self._http.stream(method, path, **request) as response:
                if not response.is_success:
                    await response.aread()
                    raise self._failure(response)
                yield response
        except httpx.HTTPError as err:
            message = f"{self.target.url} does not answer ({_reason(err)})"
            remedy = self.target.remedy if self.target.local else "check the address (--url), and whether it runs"
            raise Unreachable(message, hint=remedy) from err

    def _strange(self, response: httpx.Response) -> NotAGateway:
        path, status = response.request.url.path, response.status_code
        message = f"{self.target.url} does not answer like an ApeRAG gateway ({path} was answered {status})"
        return NotAGateway(message, hint="check the address (--url): it is the part before /api/v1")

    def _failure(self, response: httpx.Response) -> ApiError:
        body = _object(response)
        told = _told(body) or response.text.strip()[:QUOTED_CHARACTERS] or response.reason_phrase
        status = response.status_code
        if status < httpx.codes.BAD_REQUEST or (status in MISSING and not body):
            return self._strange(response)
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status in PASSING:
            return self._server_failed(status, told, body, response)
        if status == httpx.codes.UNAUTHORIZED:
            told = f"{self.target.url} does not accept the API key"
        kind, hint = CLIENT_ERRORS.get(status, OTHER)
        return kind(told, hint=hint)

    def _server_failed(self, status: int, told: str, body: dict[str, Any], response: httpx.Response) -> ServerFailed:
        trace = f", trace {body['trace_id']}" if body.get("trace_id") else ""
        after = response.headers.get("Retry-After", "")
        return ServerFailed(
            f"the gateway failed: {told} ({status}{trace})",
            hint=self.target.remedy,
            retryable=bool(body.get("retryable", status in PASSING)),
            retry_after=float(after) if after.isdecimal() else None,
        )


def segment(value: str) -> str:
    """``value`` as one part of a path, whatever a person typed."""
    if value in {"", ".", ".."}:
        message = f"{value!r} is not an id"
        raise NotFound(message, hint="give an id as the commands print it")
    return quote(value, safe="")


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = json.loads(response.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _told(body: dict[str, Any]) -> str:
    """The gateway's own words, from any of the contract's three shapes of a failure."""
    invalid = body.get("errors") or body.get("detail")
    if isinstance(invalid, list):
        parts = [part for part in invalid if isinstance(part, dict)]
        return "; ".join(f"{_field(it.get('loc', ()))}: {it.get('msg', '')}" for it in parts)
    return str(body.get("message") or body.get("detail") or "")


def _field(path: Sequence[object]) -> str:
    """Where in a request something is wrong, in a caller's words: people fill in fields, not bodies."""
    return ".".join(map(str, path[1:] if len(path) > 1 and path[0] in {"body", "query", "path"} else path))


def _reason(err: httpx.HTTPError) -> str:
    """A time-out has no words of its own."""
    return str(err) or type(err).__name__


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
