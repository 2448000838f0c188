"""What services that are clients of the gateway share: the connections, whether it answers, what a refusal says."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.utils import suppress_http_instrumentation

from aperag_common.sparing import without
from aperag_common.telemetry import Gateway as SpanGateway

with without("click"):  # and with it a command line, its colours and its tables
    import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pydantic import SecretStr

CHECK_SECONDS = 2.0
IDLE_SECONDS = 2.0
"""Less than the gateway keeps an idle connection, so that it is seldom closed under a request."""


def root_of(api_url: str) -> str:
    """The gateway's address, however it was written down."""
    return api_url.rstrip("/").removesuffix("/api/v1")


@asynccontextmanager
async def connections(api_url: str, *, accept: str, most: int) -> AsyncIterator[httpx.AsyncClient]:
    """One pool for the process: each request brings its own caller's credential."""
    # Callers share the connections: a cookie that one of them was given would make the next one act as the first.
    no_cookies = CookieJar(policy=DefaultCookiePolicy(allowed_domains=()))
    async with httpx.AsyncClient(
        base_url=root_of(api_url),
        headers={"Accept": accept},
        limits=httpx.Limits(max_connections=most, keepalive_expiry=IDLE_SECONDS),
        cookies=no_cookies,
        verify=api_url.startswith("https:"),  # certificates of authorities are megabytes of a process that uses none
        trust_env=False,  # the gateway is a neighbour; a proxy would see every caller's credential
        follow_redirects=False,
    ) as http:
        yield http


async def check(http: httpx.AsyncClient) -> str | None:
    """Whether it answers at all; what it in turn depends on is its own report."""
    try:
        with suppress_http_instrumentation():  # each probe would be a trace of its own
            answer = await http.get("/livez", timeout=CHECK_SECONDS)
    except httpx.HTTPError:
        return "no answer"
    return None if answer.is_success else f"answered {answer.status_code}"


def taker_of_spans(api_url: str, token: SecretStr | None) -> SpanGateway | None:
    """None without a token: spans then go nowhere, unless there is a collector."""
    return SpanGateway(root_of(api_url), token) if token is not None and token.get_secret_value() else None


def refusal_in(content: bytes) -> tuple[Mapping[str, Any], str]:
    """The body of a refusal, in any of the contract's shapes, and what it says; both empty where it is none of them."""
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    detail = body.get("errors") or body.get("detail")
    if isinstance(detail, list):
        parts = [part for part in detail if isinstance(part, dict)]
        return body, "; ".join(f"{_field(part.get('loc', ()))}: {part.get('msg', '')}" for part in parts)
    if isinstance(detail, dict):
        return body, str(detail.get("message") or "")
    return body, str(body.get("message") or detail or "")


def _field(loc: Any) -> str:
    """Without where in the request it stood: a form, or a tool's arguments, are one place."""
    place, *parts = [str(part) for part in loc] or [""]
    return ".".join(parts if place in {"body", "query", "path"} else [place, *parts]) or "arguments"
