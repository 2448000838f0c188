"""The processes that are there: what an operator sees as workers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class ServiceInstance(Base):
    """Upserted by each process about itself every few seconds; one that ends takes its row along, one that is
    killed is told from the living by ``seen``.

    ``instance`` tells replicas of one service apart. ``consumers`` is a list of ``{name, slots, busy}``.
    """

    __tablename__ = "service_instance"

    service: Mapped[str] = mapped_column(String(24), primary_key=True)
    instance: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(32))
    started: Mapped[datetime] = mapped_column(server_default=func.now())
    seen: Mapped[datetime] = mapped_column(server_default=func.now())
    consumers: Mapped[list[dict[str, Any]]]

    __table_args__ = (Index("ix_service_instance_seen", "seen"),)
