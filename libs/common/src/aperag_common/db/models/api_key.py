"""Bearer credentials; the key itself is never stored."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, String, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class ApiKey(Base):
    """``key_hash`` is a keyed hash (``aperag_api.identity.apikeys.keys``); ``key_mask`` is what lists show.

    ``scope`` is ``all`` (whatever its owner may do) or ``read``. ``collection_ids``, where there are any, are the only
    collections that the key reaches. ``ended_at`` is when `key.revoked` was written: of a key that was deleted, that expired,
    or whose user was deleted.

    Written by the gateway; the reconciler removes deleted ones after a time.
    """

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    key_mask: Mapped[str] = mapped_column(String(24))
    description: Mapped[str | None] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(String(8), server_default="all")
    collection_ids: Mapped[list[str] | None] = mapped_column(ARRAY(String(24)))
    expires_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    is_system: Mapped[bool] = mapped_column(Boolean, default=False)
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "ix_api_key_expiring", "expires_at", postgresql_where=text("ended_at IS NULL AND expires_at IS NOT NULL")
        ),
    )
