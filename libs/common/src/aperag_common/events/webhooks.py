"""Facts about webhooks; they go out on NATS and to browsers, and are never delivered to webhooks."""

from __future__ import annotations

from typing import ClassVar

from aperag_common.events.fact import Fact, WebhookData
from aperag_common.services import Service


class WebhookDisabled(Fact):
    """A webhook gets no more deliveries until it is enabled again: its receiver is gone, or has failed for days."""

    type_name: ClassVar[str] = "webhook.disabled"
    makers = frozenset({Service.WEBHOOKS})
    data: WebhookData


FACTS: tuple[type[Fact], ...] = (WebhookDisabled,)
