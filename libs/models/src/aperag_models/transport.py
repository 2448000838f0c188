"""Calls to one provider: guarded, counted, patient with it within a budget, and never longer than an answer may be."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx
import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy.exc import SQLAlchemyError

from aperag_common import errors
from aperag_common.db.session import autocommit
from aperag_common.telemetry import propagate
from aperag_models import repository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_models.settings import ModelSettings
    from aperag_models.slots import Slots

log = structlog.get_logger(__name__)

PATIENCE = 429
AGAIN = frozenset({408, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request may succeed."""
FIRST_PAUSE, LAST_PAUSE = 0.5, 8.0
LONGEST_PAUSE = 600.0
"""A provider that asks for more is asked again after that."""


@dataclass(slots=True)
class ProviderTransport(httpx.AsyncBaseTransport):
    """Sends a request again only while nothing of an answer has been seen; ``inner`` is shared and not closed here.

    The slot is held until the answer is read or let go. A 429 stops all callers of the provider, in every process, for
    as long as it says; who would have to wait longer than the budget gets the 429 itself.
    """

    provider: str
    inner: httpx.AsyncBaseTransport
    slots: Slots
    settings: ModelSettings

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        until = time.monotonic() + self.settings.wait.total_seconds()
        for tried in range(1, self.settings.tries + 1):
            last = tried == self.settings.tries
            try:
                response = await self._send(request, until)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError) as err:
                if last or not await _pause(tried, until):
                    raise
                log.info("provider.again", provider=self.provider, tried=tried, cause=repr(err))
                continue
            if last or response.status_code not in AGAIN | {PATIENCE}:
                return response
            waited = await self._wait(response, tried, until)
            if not waited:
                return response
            log.info("provider.again", provider=self.provider, tried=tried, status=response.status_code)
            await response.aclose()
        raise AssertionError  # the last try returns or raises

    async def _send(self, request: httpx.Request, until: float) -> httpx.Response:
        try:
            token = await self.slots.take(self.provider, until=until)
        except (errors.Busy, errors.RateLimited) as err:
            return _refused(request, err)
        taken = _Taken(self.slots, self.provider, token)
        try:
            response = await self._ask(request)
        except BaseException:  # a cancelled request too gives its place back
            await asyncio.shield(taken.free())
            raise
        if response.status_code == PATIENCE:
            await self._tell_all(response)
        if response.status_code == PATIENCE or response.status_code in AGAIN:
            await taken.free()  # somebody else may use it while this one waits
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            await taken.free()
            raise httpx.DecodingError("The answer is packed, which was not asked for", request=request)
        response.stream = _Stream(response.stream, taken, self.settings.max_answer)
        return response

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        attributes = {"server.address": request.url.host, "aperag.provider": self.provider}
        with propagate.tracer().start_as_current_span(
            request.method, kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            response = await self.inner.handle_async_request(request)
            span.set_attribute("http.response.status_code", response.status_code)
            return response

    async def _tell_all(self, response: httpx.Response) -> None:
        pause = timedelta(seconds=retry_after(response.headers, datetime.now(UTC)) or FIRST_PAUSE)
        with suppress(SQLAlchemyError, OSError):
            async with autocommit(self.slots.engine) as conn:
                await repository.pause(conn, self.provider, pause)

    async def _wait(self, response: httpx.Response, tried: int, until: float) -> bool:
        """False where the wait would end after ``until``."""
        asked = retry_after(response.headers, datetime.now(UTC)) if response.status_code == PATIENCE else None
        if asked is None:
            return await _pause(tried, until)
        # The slots of a paused provider are not given out: taking one waits for as long as it takes.
        return time.monotonic() + asked < until


@dataclass(slots=True)
class _Taken:
    slots: Slots
    provider: str
    token: str | None

    async def free(self) -> None:
        token, self.token = self.token, None
        if token is not None:
            await self.slots.free(self.provider, token)


@dataclass(slots=True)
class _Stream(httpx.AsyncByteStream):
    """The answer as it comes; the slot is given back with it."""

    inner: httpx.AsyncByteStream | httpx.SyncByteStream
    taken: _Taken
    most: int
    seen: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self.inner, httpx.AsyncByteStream)  # noqa: S101  an async transport's
        async for data in self.inner:
            self.seen += len(data)
            if self.seen > self.most:
                raise httpx.RemoteProtocolError(f"The answer is larger than {self.most} bytes")
            yield data

    async def aclose(self) -> None:
        try:
            if isinstance(self.inner, httpx.AsyncByteStream):
                await self.inner.aclose()
        finally:
            await asyncio.shield(self.taken.free())


def retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or a date (RFC 9110, 10.2.3); None where it says nothing."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value) if value[:1].isdigit() else (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def _refused(request: httpx.Request, err: errors.Retryable) -> httpx.Response:
    """As a provider would say it, so that every client of one understands."""
    after = {} if err.retry_after is None else {"retry-after": str(round(err.retry_after.total_seconds()))}
    body = {"error": {"message": err.message, "type": "requests", "code": err.error_code.lower()}}
    return httpx.Response(PATIENCE, headers=after, json=body, request=request)


async def _pause(tried: int, until: float) -> bool:
    """Double each time, with jitter; False where it would end after ``until``."""
    pause = min(FIRST_PAUSE * 2 ** (tried - 1), LAST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311
    if time.monotonic() + pause > until:
        return False
    await asyncio.sleep(pause)
    return True
