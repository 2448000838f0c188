"""How often one caller may call: numbers that only a runaway program reaches."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from fastapi import Request
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from aperag_api.kernel.auth import Anyone
from aperag_api.kernel.http.failures import TooManyRequests
from aperag_common.http.front import place

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from aperag_api.kernel.auth import Caller
    from aperag_api.kernel.http.settings import RateSettings
    from aperag_common.http.front import Front


class Kind(StrEnum):
    """Kinds of requests that are counted apart."""

    SIGN_IN = "sign_in"
    ANONYMOUS = "anonymous"
    READ = "read"
    SEARCH = "search"
    WRITE = "write"


_SIGN_IN = ("/login", "/register", "/change-password", "/test/register_admin", "/auth/")
_SEARCHES = ("/searches", "/search")
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


def kind_of(method: str, path: str, *, known: bool) -> Kind:
    """``path`` is below /api/v1; ``known``: with a valid credential."""
    if path.startswith(_SIGN_IN):
        return Kind.SIGN_IN
    if not known:
        return Kind.ANONYMOUS
    if method in _READS:
        return Kind.READ
    return Kind.SEARCH if method == "POST" and path.endswith(_SEARCHES) else Kind.WRITE


class Rates:
    """Counted in this process: each replica of the gateway grants as much."""

    def __init__(self, settings: RateSettings, front: Front) -> None:
        self._front = front
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._limits = {kind: parse(getattr(settings, kind)) for kind in Kind} if settings.enabled else {}

    async def take(self, request: Request, caller: Caller | None) -> None:
        """Raises ``TooManyRequests`` where the caller has none left of the kind that the request is of."""
        path = request.scope["path"].removeprefix("/api/v1")
        await self.take_of(kind_of(request.method, path, known=caller is not None), request, caller)

    async def take_of(self, kind: Kind, request: HTTPConnection, caller: Caller | None) -> None:
        """As ``take``, for what is no request of its own."""
        limit = self._limits.get(kind)
        if limit is None:
            return
        by_user = caller is not None and kind is not Kind.SIGN_IN
        who = caller.user_id if caller is not None and by_user else place(self._front.client(request))
        if await self._limiter.hit(limit, kind, who):
            return
        stats = await self._limiter.get_window_stats(limit, kind, who)
        seconds = max(1, math.ceil(stats.reset_time - time.time()))
        message = f"Too many requests: {limit.amount} in {limit.get_expiry()} s are allowed; try again in {seconds} s"
        raise TooManyRequests(message, retry_after=timedelta(seconds=seconds))


async def within_rate(request: Request, caller: Anyone) -> None:
    """A dependency of every route below /api/v1 and /v1."""
    rates: Rates = request.app.state.rates
    await rates.take(request, caller)
