"""Jina's search and reader, for whoever has a key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx

from aperag_api.knowledge.web.pages.ports import Page
from aperag_api.knowledge.web.searching.decide import restricted
from aperag_api.knowledge.web.searching.ports import Found
from aperag_common import errors
from aperag_common.outbound.client import Call
from aperag_common.outbound.failures import InvalidUrl

if TYPE_CHECKING:
    from pydantic import SecretStr

    from aperag_api.knowledge.web.pages.robots import Robots
    from aperag_api.knowledge.web.searching.ports import WebQuery
    from aperag_common.outbound.client import OutboundClient, Received

MAX_BYTES = 8 * 1024 * 1024
KEY_REFUSED = frozenset({401, 402, 403})
_NO_CONTENT = "no-content"


@dataclass(frozen=True, slots=True)
class JinaSearch:
    client: OutboundClient
    key: SecretStr
    url: str
    name: str = "jina"

    async def search(self, query: WebQuery, *, seconds: float) -> list[Found]:
        asked = urlencode({"q": restricted(query.text, query.sites)})
        headers = {**_headers(self.key, query.locale), "x-respond-with": _NO_CONTENT}
        call = Call(f"{self.url.rstrip('/')}/?{asked}", headers=headers, redirects=0)
        entries = _data(await self.client.fetch(call, seconds=seconds, max_bytes=MAX_BYTES))
        if not isinstance(entries, list):
            raise _not_understood()
        return [
            Found(
                _text(entry, "title"),
                _text(entry, "url"),
                _text(entry, "description") or _text(entry, "content"),
                _moment(_text(entry, "date")),
            )
            for entry in entries
            if isinstance(entry, dict)
        ]


@dataclass(frozen=True, slots=True)
class JinaReader:
    """Jina fetches the page, so what our own fetch would check is checked before."""

    client: OutboundClient
    robots: Robots
    key: SecretStr
    url: str
    name: str = "jina"

    async def read(self, url: str, *, locale: str, seconds: float) -> Page:
        try:
            await self.client.guard.check(httpx.URL(url))
        except httpx.InvalidURL as err:
            raise InvalidUrl(f"{url[:100]!r} is not an http or https address") from err
        await self.robots.require(url)
        headers = {
            **_headers(self.key, locale),
            "x-return-format": "markdown",
            "x-retain-images": "none",
            "x-locale": locale,
            "x-timeout": str(max(1, int(seconds))),
        }
        call = Call(self.url, "POST", headers, json={"url": url}, redirects=0)
        page = _data(await self.client.fetch(call, seconds=seconds, max_bytes=MAX_BYTES))
        if not isinstance(page, dict):
            raise _not_understood()
        if not _text(page, "content").strip():
            raise errors.Terminal("Jina found no text in it", code="NO_CONTENT")
        return Page(_text(page, "title"), _text(page, "content").strip())


def _headers(key: SecretStr, locale: str) -> dict[str, str]:
    return {
        "authorization": f"Bearer {key.get_secret_value()}",
        "accept": "application/json",
        "accept-language": f"{locale}, *;q=0.5",
    }


def _data(received: Received) -> Any:
    status = received.head.status
    if status == 429:
        raise errors.RateLimited("Jina wants fewer requests")
    if status in KEY_REFUSED:
        message = f"Jina does not accept the key that is set, or its budget is spent ({status})"
        raise errors.Terminal(message, code="KEY_REFUSED")
    if status != 200:
        raise errors.UpstreamUnavailable(f"Jina answered {status}")
    try:
        return json.loads(received.content)["data"]
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise _not_understood() from err


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _moment(text: str) -> datetime | None:
    """None also for what is no ISO date: "2 days ago" says nothing once it is kept."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _not_understood() -> errors.UpstreamUnavailable:
    return errors.UpstreamUnavailable("Jina's answer has a form that is not understood here")
