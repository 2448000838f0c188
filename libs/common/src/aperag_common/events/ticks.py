"""Timer ticks."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Tick(BaseModel):
    """``time`` is when the tick was published; its lateness is what a timer's metric shows."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    timer: str
    time: datetime
