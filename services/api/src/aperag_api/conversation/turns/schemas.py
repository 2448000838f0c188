"""Turns as clients see them (contract 1.9, agent messages)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from aperag_api.kernel.model_spec import ModelSpec
from aperag_api.kernel.validation import BodyPart, RequestBody

Language = Literal["en-US", "zh-CN", "zh-TW", "ja-JP", "ko-KR", "fr-FR", "de-DE", "es-ES", "it-IT", "pt-BR", "ru-RU"]
Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=32_000)]
MessageId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Named(BaseModel):
    """A collection, of which clients send all they know."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(max_length=64)


class NamedFile(BodyPart):
    model_config = ConfigDict(extra="ignore")

    id: str = Field(max_length=64)
    name: str = Field("", max_length=1024)


class AgentMessage(RequestBody):
    """A question. ``message_id`` is the client's own name for it: sent again, it is the same turn."""

    query: Query
    collections: list[Named] = Field([], max_length=100)
    completion: ModelSpec | None = None
    web_search_enabled: bool = False
    language: Language = "en-US"
    files: list[NamedFile] | None = Field(None, max_length=50)
    message_id: MessageId | None = None


class TurnState(StrEnum):
    """QUEUED: no agent has it yet. CANCELLING: its agent has not said yet that it stopped."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    ANSWERED = "answered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TurnError(BaseModel):
    code: str
    message: str


class TurnOut(BaseModel):
    """Where a turn is and what came of it; ``events`` is where it is followed, ``ordinal`` its place in the chat."""

    id: str
    chat_id: str
    bot_id: str
    ordinal: int
    message_id: str
    state: TurnState
    question: str
    answer: str | None = None
    usage: dict[str, Any] | None = None
    error: TurnError | None = None
    attempt: int
    worker: str | None = None
    trace_id: str | None = None
    created: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    events: str


class TurnSnapshot(TurnOut):
    """What has happened so far; ``last_event_id`` is from where the event stream goes on."""

    parts: list[dict[str, Any]]
    last_event_id: str | None = None
