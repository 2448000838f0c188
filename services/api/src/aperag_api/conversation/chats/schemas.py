"""Chats and their messages as clients see them (contract 1.8)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from aperag_api.kernel.validation import RequestBody, ignoring
from aperag_common import errors

Title = Annotated[str, Field(min_length=1, max_length=256)]


class ChatCreate(RequestBody):
    """The contract ignores the body: whatever is no title gives none, and refuses nothing."""

    title: Annotated[Title | None, ignoring(None)] = None

    @classmethod
    def title_in(cls, body: bytes) -> str | None:
        try:
            return cls.model_validate_json(body).title
        except (ValidationError, errors.ClientError):
            return None


class ChatUpdate(RequestBody):
    title: Title


class ChatOut(BaseModel):
    id: str
    title: str
    bot_id: str
    peer_type: str
    peer_id: str | None
    status: str
    created: datetime
    updated: datetime


class ChatMessage(BaseModel):
    """``id`` is the message's, which a question and all parts of its answer share, as they do ``feedback``."""

    id: str
    part_id: str
    type: Literal["welcome", "message", "start", "stop", "error", "tool_call_result", "thinking", "references"]
    timestamp: float
    role: Literal["human", "ai"]
    data: str
    references: list[dict[str, Any]] | None = None
    urls: list[str] = []
    feedback: dict[str, Any] | None = None
    files: list[dict[str, Any]] = []


class ChatDetails(ChatOut):
    """``history`` has a list for each question and one for each answer, the oldest first.

    ``before`` asks for the turns before these, if any.
    """

    history: list[list[ChatMessage]]
    before: int | None = None
