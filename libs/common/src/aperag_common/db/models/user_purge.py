"""The driven row that removes everything of a deleted user."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base, DrivenMixin, due_index


class UserPurge(DrivenMixin, Base):
    """Inserted DELETING by the gateway with the user's delete; claimed, finished and removed by the reconciler.

    ``id`` and ``owner`` are both the user's id.
    """

    __tablename__ = "user_purge"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(String(24))

    __table_args__ = (due_index("user_purge"),)
