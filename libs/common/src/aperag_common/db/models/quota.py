"""How much of something a user may own."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, String, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class QuotaType(StrEnum):
    """The contract's names."""

    COLLECTIONS = "max_collection_count"
    DOCUMENTS = "max_document_count"
    DOCUMENTS_PER_COLLECTION = "max_document_count_per_collection"
    BOTS = "max_bot_count"


class UserQuota(Base):
    """``quota_limit`` is NULL where the defaults of the installation hold.

    What is used is counted from the rows themselves, under this row's lock: a stored count could drift. ``at_most`` is
    no count but a bound that what is used never exceeds: whatever adds raises it in its own transaction, deletes leave
    it alone, each count brings it down again. While it is within the limit nothing need be counted. Written by the
    gateway only.
    """

    __tablename__ = "user_quota"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    quota_type: Mapped[str] = mapped_column(String(40), primary_key=True)
    quota_limit: Mapped[int | None] = mapped_column(BigInteger)
    at_most: Mapped[int | None] = mapped_column(BigInteger)
    updated: Mapped[datetime] = mapped_column(server_default=func.now())
