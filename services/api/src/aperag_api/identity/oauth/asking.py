"""Requests to providers: guarded and bounded like all that leave this machine, answered with JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_api.identity.oauth.failures import ProviderFailed
from aperag_common import errors
from aperag_common.outbound.client import Call

if TYPE_CHECKING:
    from aperag_common.outbound.client import OutboundClient, Received

SECONDS = 15.0
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Asking:
    """Of one provider."""

    client: OutboundClient
    provider: str

    async def receive(self, call: Call) -> Received:
        try:
            return await self.client.fetch(call, seconds=SECONDS, max_bytes=MAX_BYTES)
        except errors.Terminal as err:  # nothing that asking again would mend
            raise ProviderFailed(self.provider, err.message) from err

    async def json(self, url: str, *, bearer: str | None = None) -> Any:
        headers = {"accept": "application/json"} | ({"authorization": f"Bearer {bearer}"} if bearer else {})
        received = await self.receive(Call(url, headers=headers, redirects=0))
        if received.head.status != 200:
            raise ProviderFailed(self.provider, f"{url} answered {received.head.status}")
        try:
            return json.loads(received.content)
        except ValueError as err:
            raise ProviderFailed(self.provider, f"{url} answered no JSON") from err

    async def object(self, url: str, *, bearer: str | None = None) -> dict[str, Any]:
        answer = await self.json(url, bearer=bearer)
        if not isinstance(answer, dict):
            raise ProviderFailed(self.provider, f"{url} answered no object")
        return answer
