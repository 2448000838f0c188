"""Requests to hosts that users name: guarded, bounded in time, bytes and redirects, and without memory of each other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import httpx
from opentelemetry.trace import SpanKind

from aperag_common.outbound.failures import (
    BrokenResponse,
    InvalidUrl,
    TimedOut,
    TooLarge,
    TooManyRedirects,
    Unreachable,
)
from aperag_common.outbound.guard import Guard, Resolver, host_of
from aperag_common.outbound.transport import GuardedTransport
from aperag_common.outbound.unpacking import ACCEPTED, Body
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from aperag_common.outbound.settings import OutboundSettings

    Read = Callable[[httpx.Response, int], Awaitable[bytes]]

NO_ADDRESS = (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError)
"""What httpx raises for an address that is none; the last for a host name that a redirect leads to."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request; ``form``, ``json`` or ``content`` is its body. ``redirects`` lowers what settings allow."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    json: Any = None
    content: bytes | None = None
    redirects: int | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins; ``url`` is where the redirects ended."""

    url: str
    status: int
    headers: httpx.Headers

    @property
    def media_type(self) -> str:
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Received:
    head: Head
    content: bytes


class OutboundClient:
    """``trust_env`` is off: a proxy of the environment would resolve names in the guard's place."""

    def __init__(self, settings: OutboundSettings, *, user_agent: str, resolver: Resolver | None = None) -> None:
        self.guard = Guard(settings, resolver)
        self._redirects = settings.max_redirects
        self._http = httpx.AsyncClient(
            transport=GuardedTransport(self.guard, trust(settings), max_connections=settings.max_connections),
            trust_env=False,
            # What a site tells one user's request to remember must not travel with another's.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"user-agent": user_agent, "accept-encoding": ACCEPTED},
            timeout=None,  # noqa: S113 - every call has a deadline for all of it
        )

    async def close(self) -> None:
        await self._http.aclose()
        self.guard.close()

    async def fetch(
        self,
        call: Call,
        *,
        seconds: float,
        max_bytes: int,
        before: Callable[[str], Awaitable[None]] | None = None,
        expect: Callable[[Head], None] | None = None,
        cut: bool = False,
    ) -> Received:
        """Within ``seconds`` for everything, redirects included. ``cut``: of a larger answer the first ``max_bytes``, as
        they travel; else it is refused.

        ``before`` is told each address before it is asked, ``expect`` how the answer begins before its body is read;
        either may raise to end it. The status is the caller's to judge.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(call, _beginning if cut else _read, max_bytes, before, expect)
        except (TimeoutError, httpx.TimeoutException) as err:
            raise TimedOut(f"No complete answer within {seconds:.0f} s") from err
        except NO_ADDRESS as err:
            raise InvalidUrl(f"{call.url[:100]!r} is not an http or https address, or leads to what is none") from err
        except (httpx.RemoteProtocolError, httpx.DecodingError) as err:
            raise BrokenResponse("The answer is not valid HTTP, or ended early") from err
        except (httpx.HTTPError, OSError) as err:
            certificate = "CERTIFICATE_VERIFY_FAILED" in str(err)
            message = "Its certificate is not trusted" if certificate else "Nobody answers there"
            raise Unreachable(message) from err

    async def _follow(
        self,
        call: Call,
        read: Read,
        max_bytes: int,
        before: Callable[[str], Awaitable[None]] | None,
        expect: Callable[[Head], None] | None,
    ) -> Received:
        most = self._redirects if call.redirects is None else min(call.redirects, self._redirects)
        url = httpx.URL(call.url)
        self.guard.check_url(url)
        request = self._http.build_request(
            call.method, url, headers=dict(call.headers), content=call.content, data=call.form, json=call.json
        )
        for _ in range(most + 1):
            self.guard.check_url(request.url)
            if before is not None:
                await before(str(request.url))
            received = await self._hop(request, read, max_bytes, expect)
            if isinstance(received, Received):
                return received
            request = received
        message = f"More than {most} redirects" if most else "Redirects are not followed here"
        raise TooManyRedirects(message)

    async def _hop(
        self, request: httpx.Request, read: Read, max_bytes: int, expect: Callable[[Head], None] | None
    ) -> Received | httpx.Request:
        """The answer, or the request that it redirects to."""
        with propagate.tracer().start_as_current_span(
            request.method, kind=SpanKind.CLIENT, attributes={"server.address": host_of(request.url)}
        ) as span:
            answer = await self._http.send(request, stream=True)
            try:
                span.set_attribute("http.response.status_code", answer.status_code)
                if answer.next_request is not None:
                    return answer.next_request
                head = Head(str(answer.url), answer.status_code, answer.headers)
                if expect is not None:
                    expect(head)
                return Received(head, await read(answer, max_bytes))
            finally:
                await answer.aclose()


async def _read(answer: httpx.Response, max_bytes: int) -> bytes:
    announced = answer.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > max_bytes:
        raise TooLarge(f"The answer is larger than {max_bytes} bytes")
    body = Body(answer.headers.get("content-encoding", ""), max_bytes)
    async for data in answer.aiter_raw():
        body.add(data)
    return body.whole()


async def _beginning(answer: httpx.Response, max_bytes: int) -> bytes:
    found = bytearray()
    async for data in answer.aiter_raw():
        found += data
        if len(found) >= max_bytes:
            break
    return bytes(found[:max_bytes])


def trust(settings: OutboundSettings) -> ssl.SSLContext:
    """Whose certificates are believed; shared by all clients of the process, for reading them takes a while."""
    return trusted(settings.ca_file)


@cache
def trusted(ca_file: Path | None = None) -> ssl.SSLContext:
    """The public certificates, and those of the file."""
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
