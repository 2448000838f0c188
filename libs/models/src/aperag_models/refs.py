"""Names of models, and what they are for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

LOCAL = "local"
"""The provider that needs no key and no network: its models are part of the services."""
EXTRACTIVE = "extractive"
"""The completion model of ``local``."""


class Api(StrEnum):
    """What a model is asked for."""

    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"


class Scenario(StrEnum):
    """Where a model is used that nobody chose (contract 1.10)."""

    COLLECTION_COMPLETION = "default_for_collection_completion"
    AGENT_COMPLETION = "default_for_agent_completion"
    EMBEDDING = "default_for_embedding"
    RERANK = "default_for_rerank"
    BACKGROUND_TASK = "default_for_background_task"

    @property
    def api(self) -> Api:
        match self:
            case Scenario.EMBEDDING:
                return Api.EMBEDDING
            case Scenario.RERANK:
                return Api.RERANK
            case _:
                return Api.COMPLETION


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Written ``provider/model``: the name of a provider holds no slash, that of a model may."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"

    @classmethod
    def parse(cls, model_id: str) -> Self:
        provider, _, model = model_id.partition("/")
        return cls(provider, model)
