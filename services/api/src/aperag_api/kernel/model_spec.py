"""The contract's way to name a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aperag_api.kernel.validation import BodyPart

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


class ModelSpec(BodyPart):
    """A model as collections, bots and questions name it."""

    model: str | None = None
    model_service_provider: str | None = None
    custom_llm_provider: str | None = None
    temperature: float = Field(0.1, ge=0, le=2)
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    timeout: Count | None = None
    top_n: Count | None = Field(None, ge=1)
    tags: list[str] = Field([])
