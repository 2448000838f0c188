"""What a timer last did, whichever reconciler did it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Float, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class Timer(Base):
    """Upserted by the reconciler that consumed a tick; ``outcome`` is ok or failed, null before the first end.

    ``started_at`` after ``finished_at``: it runs, or whoever ran it is gone. ``succeeded_at`` is the last good end.
    """

    __tablename__ = "timer"

    name: Mapped[str] = mapped_column(String(48), primary_key=True)
    period_seconds: Mapped[float] = mapped_column(Float)
    worker: Mapped[str | None] = mapped_column(String(64))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    succeeded_at: Mapped[datetime | None]
    lateness_seconds: Mapped[float | None] = mapped_column(Float)
    outcome: Mapped[str | None] = mapped_column(String(12))
    error_message: Mapped[str | None] = mapped_column(Text)
    runs: Mapped[int] = mapped_column(BigInteger, default=0)
    failures: Mapped[int] = mapped_column(BigInteger, default=0)
