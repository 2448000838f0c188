"""What a chat is to be named by (contract 1.8)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from aperag_api.conversation.turns.schemas import Language
from aperag_api.kernel.validation import RequestBody, ignoring


class TitleRequest(RequestBody):
    """``max_length`` is in characters; ``turns`` of the chat's first ones are looked at."""

    max_length: int = Field(20, ge=6, le=50)
    language: Annotated[Language, ignoring("zh-CN")] = "zh-CN"
    turns: int = Field(1, ge=1, le=100)


class TitleOut(BaseModel):
    title: str
