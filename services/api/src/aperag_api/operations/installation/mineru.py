"""Asking MinerU whether it knows a token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_api.operations.installation.schemas import TokenTested
from aperag_common import errors
from aperag_common.outbound.client import Call

if TYPE_CHECKING:
    from aperag_common.outbound.client import OutboundClient

SECONDS = 10.0
MAX_BYTES = 64 * 1024
LONGEST_TEXT = 1000
MASK = "****"
NO_TASK = "/api/v4/extract/task/00000000-0000-0000-0000-000000000000"
"""A question about a task that is not there: it needs a token, makes nothing and costs nothing."""


@dataclass(frozen=True, slots=True)
class MinerU:
    client: OutboundClient
    url: str

    async def test(self, token: str) -> TokenTested:
        """Raises ``UpstreamUnavailable`` where it does not answer."""
        if not token.isascii() or not token.isprintable():
            message = "A token of MinerU holds letters, digits and signs of ASCII only: copy it again"
            raise errors.InvalidParameter(message)
        call = Call(f"{self.url.rstrip('/')}{NO_TASK}", headers={"authorization": f"Bearer {token}"}, redirects=0)
        try:
            received = await self.client.fetch(call, seconds=SECONDS, max_bytes=MAX_BYTES)
        except (errors.Retryable, errors.Terminal) as err:
            raise errors.UpstreamUnavailable(f"MinerU did not answer: {err.message}") from err
        return TokenTested(status_code=received.head.status, data=_told(received.content, token))


def _told(content: bytes, token: str) -> Any:
    """What it answered, without the token that it may repeat."""
    text = content.decode(errors="replace").replace("\0", "").replace(token, MASK)
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text[:LONGEST_TEXT]
