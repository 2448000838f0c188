"""Feedback as clients send it (contract 1.8)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from aperag_api.kernel.validation import RequestBody


class FeedbackType(StrEnum):
    GOOD = "good"
    BAD = "bad"


class FeedbackTag(StrEnum):
    HARMFUL = "Harmful"
    UNSAFE = "Unsafe"
    FAKE = "Fake"
    UNHELPFUL = "Unhelpful"
    OTHER = "Other"


class Feedback(RequestBody):
    """Without a ``type`` what was said before is taken back."""

    type: FeedbackType | None = None
    tag: FeedbackTag | None = None
    message: Annotated[str, Field(max_length=10_000)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _taken_back_whole(cls, body: object) -> object:
        """What else is said while nothing is judged is ignored."""
        return {} if isinstance(body, dict) and not body.get("type") else body


class FeedbackKept(BaseModel):
    action: Literal["upserted"] = "upserted"
    feedback: Feedback


class FeedbackDeleted(BaseModel):
    action: Literal["deleted"] = "deleted"
    success: bool = True
