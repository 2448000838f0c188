"""What a bot's config says, in whichever of its forms; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aperag_api.kernel import validation
from aperag_api.kernel.model_spec import ModelSpec
from aperag_common import errors


class _Named(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str = Field(min_length=1, max_length=64)


class _Agent(BaseModel):
    model_config = ConfigDict(extra="ignore")

    completion: ModelSpec | None = None
    system_prompt_template: str | None = None
    query_prompt_template: str | None = None
    collections: list[_Named] | None = None


class _Config(BaseModel):
    model_config = ConfigDict(extra="ignore")

    agent: _Agent | None = None
    collection_ids: list[str] | None = None


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What an agent bot decides where a message does not."""

    completion: ModelSpec | None = None
    system_prompt: str | None = None
    query_prompt: str | None = None
    collection_ids: list[str] = field(default_factory=list)


def parsed(config: dict[str, Any] | str | None) -> tuple[dict[str, Any], str | None]:
    """The object, and the text that it was posted as, if it was; raises ``BotConfigInvalid``."""
    if config is None:
        return {}, None
    if isinstance(config, dict):
        agent_config(config)
        return config, None
    if not config.strip():
        return {}, config
    try:
        value = json.loads(config)
    except (ValueError, RecursionError) as err:
        raise errors.BotConfigInvalid(f"config is a string, but no JSON: {err}") from err
    if not isinstance(value, dict):
        raise errors.BotConfigInvalid("config must be a JSON object, or a string that holds one")
    validation.check(value)
    agent_config(value)
    return value, config


def agent_config(config: dict[str, Any]) -> AgentConfig:
    """Raises ``BotConfigInvalid`` where a part that agents read has another shape."""
    try:
        found = _Config.model_validate(config)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        raise errors.BotConfigInvalid(f"config.{'.'.join(map(str, first['loc']))}: {first['msg']}") from err
    agent = found.agent or _Agent()
    named = [it.id for it in agent.collections or ()] + (found.collection_ids or [])
    return AgentConfig(
        completion=agent.completion if agent.completion and agent.completion.model else None,
        system_prompt=agent.system_prompt_template or None,
        query_prompt=agent.query_prompt_template or None,
        collection_ids=list(dict.fromkeys(named)),
    )
