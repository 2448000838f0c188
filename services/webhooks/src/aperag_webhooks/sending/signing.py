"""Requests as Standard Webhooks wants them: an id, a time, and a signature for each secret that is valid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from standardwebhooks import Webhook

from aperag_common.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

MEDIA_TYPE = "application/cloudevents+json"


def headers(delivery_id: str, at: datetime, payload: str, secrets: Sequence[str]) -> Mapping[str, str]:
    """Receivers try each signature, so that a secret can be replaced while deliveries are under way."""
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(delivery_id, at, payload) for secret in secrets),
        "content-type": MEDIA_TYPE,
        "user-agent": f"ApeRAG-Webhooks/{VERSION}",
        # What is kept of an answer is its beginning, which has to be readable without the rest.
        "accept-encoding": "identity",
    }
