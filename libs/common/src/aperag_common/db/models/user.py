"""People and programs that own rows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, String, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class User(Base):
    """Written by the gateway; the row of a deleted user is removed by the reconciler's purge.

    ``password_hash`` is Argon2's encoded form and missing where the user comes from an OAuth provider only.
    ``username_key`` is the name as it is compared, without case; ``email`` stands here as it is compared.
    ``registration_source`` is ``local`` or the name of that provider. ``email_verified``: a provider or an invitation to it
    says that the address is this user's; what a person merely typed is not.
    """

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    username: Mapped[str] = mapped_column(String(256), unique=True)
    username_key: Mapped[str | None] = mapped_column(String(512), unique=True)
    email: Mapped[str | None] = mapped_column(String(254), unique=True)
    email_verified: Mapped[bool] = mapped_column(Boolean, default=False, server_default="false")
    role: Mapped[str] = mapped_column(String(12))
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    password_hash: Mapped[str | None] = mapped_column(String(256))
    registration_source: Mapped[str] = mapped_column(String(32), server_default="local")
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]
