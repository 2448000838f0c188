"""What every table shares: the declarative base, and the words for the state of work."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

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


class JobStatus(StrEnum):
    """States of a job, in the contract's words; ``DELETED``: what it was to remove is gone."""

    PENDING = "PENDING"
    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    DELETING = "DELETING"
    DELETION_IN_PROGRESS = "DELETION_IN_PROGRESS"
    DELETED = "DELETED"
    FAILED = "FAILED"


def is_open(status: str) -> bool:
    """Whether somebody still has to work on it."""
    return status in OPEN_STATUSES


class Lane(StrEnum):
    """Interactive work is released before bulk work of the same owner."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
