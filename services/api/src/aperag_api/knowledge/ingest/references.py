"""Documents that an event only refers to: fetched through the outbound guard."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from aperag_api.knowledge.ingest.refusals import ContentTooLarge, ReferenceRefused, ReferenceUnsupported
from aperag_common import errors
from aperag_common.outbound.client import Call
from aperag_common.outbound.failures import TooLarge

if TYPE_CHECKING:
    from aperag_common.outbound.client import Head, OutboundClient

AGAIN = timedelta(seconds=5)
PASSING = frozenset((HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS))


@dataclass(frozen=True, slots=True)
class References:
    """``slots`` bounds what is held in memory at a time: each document is there whole before it is stored."""

    client: OutboundClient
    seconds: float
    max_bytes: int
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))

    async def fetch(self, url: str) -> bytes:
        """Raises ``RefusedEvent`` or what the guard says; ``Retryable`` where the host may answer later."""
        async with self.slots:
            try:
                call = Call(url, headers={"accept": "*/*"})
                received = await self.client.fetch(
                    call, seconds=self.seconds, max_bytes=self.max_bytes, before=_require_https, expect=_require_success
                )
            except TooLarge as err:
                message = f"The document at the reference is larger than {self.max_bytes} bytes: upload it instead"
                raise ContentTooLarge(message) from err
        return received.content


async def _require_https(url: str) -> None:
    """Also of where it is redirected to."""
    if not url.lower().startswith("https://"):
        raise ReferenceUnsupported("data.reference leads to an address that does not begin with https://")


def _require_success(head: Head) -> None:
    if head.status >= HTTPStatus.INTERNAL_SERVER_ERROR or head.status in PASSING:
        raise errors.UpstreamUnavailable(f"The host of the reference answers {head.status}", retry_after=AGAIN)
    if head.status != HTTPStatus.OK:
        raise ReferenceRefused(f"The host of the reference answers {head.status}: check the address and its signature")
