"""The envelope of every message: CloudEvents' attribute names, plus who owns it and what caused it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Data(BaseModel):
    """What a message says: ids, a generation, small facts; never document text (the bytes stay in the object store).

    Unknown fields are ignored, so a newer publisher may add some; a breaking change is a new type.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_serialization_defaults_required=True)


class Message(BaseModel):
    """``subject`` is the id of what the message is about, ``cause_id`` the workflow or message that led to it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type_name: ClassVar[str]

    id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    source: str
    type: str
    subject: str
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    owner: str
    cause_id: str | None = None
    data: Any

    def encode(self) -> bytes:
        return self.model_dump_json().encode()
