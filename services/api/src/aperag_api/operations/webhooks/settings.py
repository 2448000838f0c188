"""How many endpoints, and how long an old secret signs beside a new one."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, PositiveInt

from aperag_common.settings import Block


class WebhookSettings(Block):
    most: PositiveInt = Field(20, description="webhook endpoints that a user may have")
    overlap: timedelta = Field(
        timedelta(hours=24), description="after a rotation the previous secret of an endpoint signs too for so long"
    )
