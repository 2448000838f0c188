"""Failed logins, counted for all replicas together."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class LoginThrottle(Base):
    """``id`` is a keyed hash of what is throttled, a user name or an address: neither is readable here.

    Written by the gateway; rows without a recent failure are removed by the reconciler.
    """

    __tablename__ = "login_throttle"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    failed_at: Mapped[datetime] = mapped_column(index=True)
    blocked_until: Mapped[datetime | None]
