"""Timers as operators see them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel


class TimerState(StrEnum):
    """``running``: it has begun and not ended; where its reconciler was killed, another begins within seconds."""

    NEVER = "never"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"


class TimerOut(BaseModel):
    """Nulls where it has never run, or not for so long that it was forgotten; times are the database's.

    ``runs`` and ``failures`` count what ended; ``error_message`` is that of the last run. ``lateness_seconds``: from
    the tick to the run's start.
    """

    name: str
    state: TimerState
    period_seconds: float | None = None
    worker: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    succeeded_at: datetime | None = None
    lateness_seconds: float | None = None
    duration_seconds: float | None = None
    error_message: str | None = None
    runs: int = 0
    failures: int = 0


class TimersOut(BaseModel):
    items: list[TimerOut]


class TimerRequested(BaseModel):
    """``published`` is false where a run was waiting or under way already: then no second one is needed.

    ``runs`` is how many had ended before; once there are more, what was asked for has been done.
    """

    name: str
    published: bool
    message: str
    runs: int
