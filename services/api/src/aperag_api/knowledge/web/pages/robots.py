"""What a site allows robots to read (RFC 9309), asked once and remembered for a while."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from protego import Protego

from aperag_common import errors
from aperag_common.outbound.client import Call
from aperag_common.outbound.failures import TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from aperag_common.outbound.client import OutboundClient

MAX_BYTES = 512 * 1024
KEPT_CHARACTERS = 8 * 1024 * 1024
KEPT_SITES = 2_000
SECONDS = 10.0
UNAVAILABLE_SECONDS = 30.0


class RobotsDisallowed(errors.Terminal):
    """The site asks robots not to read this page."""

    code = "ROBOTS"


@dataclass(frozen=True, slots=True)
class _Rules:
    """``text`` is None where the site did not say: then nothing is allowed for now."""

    text: str | None
    until: float


class Robots:
    """Texts are kept, not what they mean: a hostile one takes far more room once it is taken apart."""

    def __init__(
        self, client: OutboundClient, agent: str, kept: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._agent = agent
        self._kept_seconds = kept.total_seconds()
        self._clock = clock
        self._rules: OrderedDict[str, _Rules] = OrderedDict()
        self._characters = 0
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def require(self, url: str) -> None:
        """Raises ``RobotsDisallowed``; where the site cannot be asked, what that failed for."""
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        text = await self._text(site)
        if text is None:
            message = f"The robots.txt of {parts.hostname} cannot be read, and until it can no page there is"
            raise errors.UpstreamUnavailable(message, code="ROBOTS_UNAVAILABLE")
        if text and not await asyncio.to_thread(_allows, text, url, self._agent):
            raise RobotsDisallowed(f"The robots.txt of {parts.hostname} does not allow {self._agent} to read this page")

    async def _text(self, site: str) -> str | None:
        if (rules := self._known(site)) is not None:
            return rules.text
        lock = self._asking.setdefault(site, asyncio.Lock())
        async with lock:  # pages of one site are often read together: it is asked once
            rules = self._known(site) or await self._ask(site)
        return rules.text

    def _known(self, site: str) -> _Rules | None:
        rules = self._rules.get(site)
        return rules if rules is not None and rules.until > self._clock() else None

    async def _ask(self, site: str) -> _Rules:
        try:
            received = await self._client.fetch(Call(f"{site}/robots.txt"), seconds=SECONDS, max_bytes=MAX_BYTES)
        except TooLarge:
            return self._keep(site, None)
        status = received.head.status
        if status >= 500 or status == 429:
            return self._keep(site, None)
        # Any other refusal to show it allows everything, says the standard.
        return self._keep(site, received.content.decode(errors="replace") if status < 300 else "")

    def _keep(self, site: str, text: str | None) -> _Rules:
        seconds = UNAVAILABLE_SECONDS if text is None else self._kept_seconds
        self._forget(site)
        self._rules[site] = rules = _Rules(text, self._clock() + seconds)
        self._characters += len(text or "")
        while len(self._rules) > KEPT_SITES or self._characters > KEPT_CHARACTERS:
            self._forget(next(iter(self._rules)))
        return rules

    def _forget(self, site: str) -> None:
        old = self._rules.pop(site, None)
        self._characters -= len(old.text or "") if old else 0


def _allows(text: str, url: str, agent: str) -> bool:
    return bool(Protego.parse(text).can_fetch(url, agent))
