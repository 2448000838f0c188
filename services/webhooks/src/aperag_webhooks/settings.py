"""Settings of the webhooks service: how patient a delivery is, and when an endpoint is given up."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, PositiveInt

from aperag_common.outbound.settings import OutboundSettings
from aperag_models.settings import OutwardSettings


class WebhookOutbound(OutboundSettings):
    max_connections: PositiveInt = Field(256, description="connections open at a time")


class Settings(OutwardSettings):
    outbound: WebhookOutbound = Field(default_factory=WebhookOutbound)
    deliveries_at_once: PositiveInt = Field(256, description="deliveries that one process has under way at a time")
    answer_within: timedelta = Field(timedelta(seconds=15), description="a receiver has to have answered within this")
    disable_after: timedelta = Field(
        timedelta(days=5), description="an endpoint where nothing has arrived for so long is disabled"
    )
