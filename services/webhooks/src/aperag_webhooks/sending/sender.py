"""One request: signed, guarded, bounded in time and in what is kept of its answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_common.auth.encrypted import WEBHOOK_PREVIOUS_SECRET, WEBHOOK_SECRET
from aperag_common.auth.vault import VaultError
from aperag_common.outbound.client import Call
from aperag_common.outbound.failures import TooManyRedirects
from aperag_webhooks.sending.decide import REDIRECTED, Attempt, failure_of, snippet
from aperag_webhooks.sending.signing import headers

if TYPE_CHECKING:
    from aperag_common.auth.vault import Vault
    from aperag_common.outbound.client import OutboundClient, Received
    from aperag_webhooks.sending.repository import DeliveryRow

KEPT_BYTES = 1024
"""Of an answer."""


@dataclass(frozen=True, slots=True)
class Sender:
    """``vault`` is None where the service was given no secret: nothing can be signed."""

    client: OutboundClient
    vault: Vault | None
    answer_within: timedelta

    async def send(self, delivery: DeliveryRow, attempt: int) -> Attempt:
        """Whatever goes wrong is in the answer."""
        at, begun = datetime.now(UTC), time.monotonic()
        code: str | None = None
        message: str | None = None
        received: Received | None = None
        try:
            received = await self._post(delivery, at)
            code, message = failure_of(received.head.status) or (None, None)
        except TooManyRedirects:
            code, message = "REDIRECTED", REDIRECTED
        except VaultError as err:
            code, message = "SECRET_UNREADABLE", f"The secret cannot be read, so nothing can be signed. {err}"
        except errors.ApeRAGError as err:
            code, message = err.error_code, err.message
        return Attempt(
            attempt,
            at,
            round(time.monotonic() - begun, 3),
            None if received is None else received.head.status,
            code,
            message,
            None if received is None else snippet(received.content),
        )

    async def _post(self, delivery: DeliveryRow, at: datetime) -> Received:
        call = Call(
            delivery.url,
            "POST",
            headers(delivery.id, at, delivery.payload, self._secrets(delivery)),
            content=delivery.payload.encode(),
            redirects=0,
        )
        return await self.client.fetch(call, seconds=self.answer_within.total_seconds(), max_bytes=KEPT_BYTES, cut=True)

    def _secrets(self, delivery: DeliveryRow) -> list[str]:
        if self.vault is None:
            raise VaultError("Give the webhooks service the gateway's APERAG_PROVIDER_KEYS")
        endpoint = delivery.endpoint_id
        secrets = [self.vault.decrypt(delivery.secret, context=WEBHOOK_SECRET.context(endpoint))]
        if delivery.previous_secret is not None:
            context = WEBHOOK_PREVIOUS_SECRET.context(endpoint)
            secrets.append(self.vault.decrypt(delivery.previous_secret, context=context))
        return secrets
