"""Collections that are published, and who subscribed to them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class CollectionSharing(Base):
    """There is one while a collection is published. Written by the gateway only."""

    __tablename__ = "collection_sharing"

    collection_id: Mapped[str] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"), primary_key=True)
    published_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CollectionSubscription(Base):
    """A user's wish to see a published collection among their own; gone once it is no longer published."""

    __tablename__ = "collection_subscription"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    collection_id: Mapped[str] = mapped_column(ForeignKey("collection_sharing.collection_id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (UniqueConstraint("collection_id", "user_id"),)
