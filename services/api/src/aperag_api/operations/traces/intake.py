"""Spans of services that have no way to the bus: they leave as the gateway's own do."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.operations.traces import otlp
from aperag_api.operations.traces.otlp import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import SecretStr

    from aperag_api.operations.traces.otlp import Encoding
    from aperag_common.telemetry import Telemetry

NOT_KEPT = "This gateway keeps no spans: OTEL_ENABLED or APERAG_TELEMETRY__SPANS_TO_NATS is off there"
INVALID = "A span needs a trace id of 16 bytes and an id of 8, neither of them all zeros"


@dataclass(frozen=True, slots=True)
class SpanIntake:
    """Open to whoever shows ``token``, and to nobody where there is none."""

    telemetry: Telemetry
    token: SecretStr | None

    def admits(self, authorization: str) -> bool:
        scheme, _, shown = authorization.partition(" ")
        if self.token is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(shown.strip().encode(), self.token.get_secret_value().encode())

    async def take(self, body: AsyncIterator[bytes], content_encoding: str, encoding: Encoding) -> bytes:
        """The answer in the request's encoding; raises ``Refused``."""
        batch = otlp.decode(otlp.unpacked(await _gathered(body), content_encoding), encoding)
        if not self.telemetry.exports:
            return otlp.accepted(encoding, rejected=len(batch.spans) + batch.invalid, why=NOT_KEPT)
        if batch.spans and not await self.telemetry.hand_on(batch.spans):
            raise Refused(503, "The collector of the gateway takes no spans now: try again later")
        return otlp.accepted(encoding, rejected=batch.invalid, why=INVALID)


async def _gathered(body: AsyncIterator[bytes]) -> bytes:
    gathered = bytearray()
    async for part in body:
        gathered += part
        if len(gathered) > otlp.MAX_BODY:
            raise otlp.too_large()
    return bytes(gathered)
