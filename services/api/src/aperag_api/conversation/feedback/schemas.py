"""Feedback as clients send it (contract 1.8)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

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


class FeedbackKept(BaseModel):
    action: Literal["upserted"] = "upserted"
    feedback: Feedback


class FeedbackDeleted(BaseModel):
    action: Literal["deleted"] = "deleted"
    success: bool = True
