"""Prompts as clients see them (contract 1.13)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field

from aperag_api.kernel.validation import RequestBody
from aperag_api.models.prompts.builtin import PromptType

Template = Annotated[str, Field(max_length=64 * 1024)]


class PromptSource(StrEnum):
    """Whose text it is: the user's, the installation's, or the one that ApeRAG brings."""

    USER = "user"
    SYSTEM = "system"
    BUILT_IN = "hardcoded"


class UserPrompt(BaseModel):
    content: str
    source: PromptSource
    customized: bool
    description: str


class SystemPrompt(BaseModel):
    type: PromptType
    content: str
    description: str


class PromptsChange(RequestBody):
    prompts: dict[str, Template]


class PromptsUpdated(BaseModel):
    message: str
    updated: list[PromptType]


class PromptRemoved(BaseModel):
    message: str
    type: PromptType
    new_content: str
    source: PromptSource


class PromptsReset(RequestBody):
    """Without ``types`` all of them."""

    types: list[str] | None = Field(None, max_length=100)


class PromptsResetDone(BaseModel):
    message: str
    reset: list[PromptType]


class Preview(RequestBody):
    template: Template
    variables: dict[str, Any] = Field(default_factory=dict)


class Previewed(BaseModel):
    rendered: str


class Validation(RequestBody):
    type: PromptType
    template: Template


class Validated(BaseModel):
    valid: bool
    errors: list[str]
    warnings: list[str]
