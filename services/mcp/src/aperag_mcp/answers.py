"""What answers of the gateway have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Fields that a newer gateway adds reach the agent too."""

    model_config = ConfigDict(extra="allow")
