"""What every table shares: the declarative base and the columns of a driven row."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import DateTime, Index, Integer, MetaData, SmallInteger, String, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

OPEN_STATUSES = ("PENDING", "CREATING", "DELETING", "DELETION_IN_PROGRESS")
OPEN_SQL = "(" + ", ".join(f"'{status}'" for status in OPEN_STATUSES) + ")"
"""For ``status IN …``; written out, because the partial indexes match only the same list."""

ENCRYPTED = {"encrypted": True}
"""Marks a column that holds tokens of the vault, all or in part: ``aperag_common.auth.encrypted`` lists them."""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
    }


class StepStatus(StrEnum):
    """States of a driven row, in the contract's words."""

    PENDING = "PENDING"
    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    DELETING = "DELETING"
    DELETION_IN_PROGRESS = "DELETION_IN_PROGRESS"
    FAILED = "FAILED"


class Lane(StrEnum):
    """Interactive work is released before bulk work of the same owner."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class DrivenMixin:
    """Columns by which any row is driven to its wanted state (see ``aperag_common.work``).

    ``generation`` is what is wanted, ``observed_generation`` what is settled. ``dispatch`` counts the
    publishes of the current generation's command and is 0 while the row waits for its fair release.
    ``attempt`` counts claims, ``failures`` reported errors. ``due_at`` is when the row counts as lost:
    ``infinity`` while it waits for another row to settle. All times are the database's clock.

    ``worker`` is who claimed it last and stays when the lease is gone. ``failed_attempts`` are those of the current
    generation, oldest first: ``{attempt, worker, ended, code, message, next_try_at}``.
    """

    status: Mapped[str] = mapped_column(String(24), default=StepStatus.PENDING)
    generation: Mapped[int] = mapped_column(Integer, default=1)
    observed_generation: Mapped[int] = mapped_column(Integer, default=0)
    dispatch: Mapped[int] = mapped_column(Integer, default=0)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    failures: Mapped[int] = mapped_column(SmallInteger, default=0)
    due_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    lane: Mapped[str] = mapped_column(String(12), default=Lane.INTERACTIVE)
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(64))
    failed_attempts: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default=text("'[]'"))
    started_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    traceparent: Mapped[str | None] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())


def due_index(table: str) -> Index:
    """The partial index that the re-drive scans; its predicate must equal the query's."""
    return Index(f"ix_{table}_due", "due_at", postgresql_where=text(f"status IN {OPEN_SQL}"))
