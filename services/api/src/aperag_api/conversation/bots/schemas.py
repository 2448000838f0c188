"""Bots as clients see them (contract 1.7)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from aperag_api.kernel.validation import RequestBody, Unfilled, ignoring

Title = Annotated[str, Field(min_length=1, max_length=256)]
Description = Annotated[str, Field(max_length=100_000)]
Config = dict[str, Any] | Annotated[str, Field(max_length=1_000_000)]
"""An object, or the JSON of one: an answer holds the form that was posted."""

BotType = Literal["knowledge", "common", "agent"]


class BotCreate(RequestBody):
    """Nulls are as good as absent."""

    title: Annotated[str, Field(max_length=256)] | None = None
    description: Description | None = None
    type: BotType = "agent"
    config: Config | None = None


class BotUpdate(RequestBody):
    """What is absent stays; ``id`` and ``type`` are accepted from clients that send all they have, and change nothing.

    Another bot's type is refused, so that nobody believes it was changed.
    """

    id: Any = None
    title: Annotated[Title | None, Unfilled] = None
    description: Description | None = None
    type: Annotated[BotType | None, ignoring(None)] = None
    config: Config | None = None


class BotOut(BaseModel):
    id: str
    title: str
    description: str
    type: BotType
    config: dict[str, Any] | str
    created: datetime
    updated: datetime


class BotList(BaseModel):
    items: list[BotOut]
