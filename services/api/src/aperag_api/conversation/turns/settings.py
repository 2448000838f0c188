"""What the gateway can be told of turns."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, PositiveInt

from aperag_common.settings import Block


class TurnSettings(Block):
    """Turns of chats, as the gateway begins them."""

    max_open: PositiveInt = Field(16, description="turns of one user that are queued or running at a time")
    retry_after: timedelta = Field(timedelta(seconds=5), description="when who has too many turns may ask again")
    linger: timedelta = Field(
        timedelta(seconds=30), description="how long a gateway listens to a turn that it began and nobody follows"
    )
