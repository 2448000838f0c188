"""Facts about webhooks; they go out on NATS and to browsers, and are never delivered to webhooks."""

from __future__ import annotations

from typing import ClassVar

from aperag_common.events.envelope import Data
from aperag_common.events.fact import Fact, WebhookData
from aperag_common.services import Service


class WebhookDisabled(Fact):
    """A webhook gets no more deliveries until it is enabled again: its receiver is gone, or has failed for days."""

    type_name: ClassVar[str] = "webhook.disabled"
    makers = frozenset({Service.WEBHOOKS})
    data: WebhookData


class WebhookTestData(Data):
    """Which webhook was asked to be tested."""

    webhook_id: str


class WebhookTest(Fact):
    """Its owner asked for a test of the webhook. It is sent to that webhook alone, and stands on no stream."""

    type_name: ClassVar[str] = "webhook.test"
    makers = frozenset({Service.API})
    data: WebhookTestData


FACTS: tuple[type[Fact], ...] = (WebhookDisabled,)
