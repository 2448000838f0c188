"""Settings of the installation that administrators change while it runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import ENCRYPTED, Base


class Setting(Base):
    """``value`` is JSON as text, encrypted as a whole where ``encrypted`` (``aperag_common.auth.vault``). Gateway only."""

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text, info=ENCRYPTED)
    encrypted: Mapped[bool] = mapped_column(server_default="false")
    updated: Mapped[datetime] = mapped_column(server_default=func.now())
