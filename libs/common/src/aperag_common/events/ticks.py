"""Timer ticks."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class TimerName(StrEnum):
    """All timers there are; each is the last token of its tick's subject."""

    RECONCILE_INDEXES = "reconcile-indexes"
    OUTBOX = "outbox"
    RECONCILE_COLLECTION_SUMMARIES = "reconcile-collection-summaries"
    COLLECTION_GC = "collection-gc"
    RECONCILE_EVALUATIONS = "reconcile-evaluations"
    RECONCILE_MODEL_SWITCHES = "reconcile-model-switches"


class Tick(BaseModel):
    """``time`` is when the tick was published; its lateness is what a timer's metric shows."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    timer: str
    time: datetime
