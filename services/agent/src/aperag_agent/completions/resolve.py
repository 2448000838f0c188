"""From what a turn asks for to a model of the agent library; the built-in one where nobody chose another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aperag_agent.local.model import NAME as EXTRACTIVE
from aperag_agent.local.model import extractive
from aperag_agent.turns.failures import TurnFailed
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx
    from pydantic_ai.models import Model
    from pydantic_ai.settings import ModelSettings

    from aperag_agent.tools.findings import Findings
    from aperag_agent.turns.repository import TurnRow

LOCAL = "local"


class Endpoint(Protocol):
    """Where a model is called, as ``aperag_models`` resolves it."""

    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def api_key(self) -> str: ...
    @property
    def http_client(self) -> httpx.AsyncClient: ...


class Catalog(Protocol):
    """What the turns need of ``aperag_models.catalog.Models``."""

    async def completion(self, user_id: str, provider: str | None, model: str | None) -> Endpoint | None:
        """None where the built-in model is meant; raises ``ClientError`` where the user may not use it."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """``name`` is shown to people."""

    name: str
    model: Model
    settings: ModelSettings


@dataclass(frozen=True, slots=True)
class Completions:
    catalog: Catalog

    async def of_turn(self, turn: TurnRow, findings: Findings) -> Chosen:
        """Raises ``TurnFailed`` where the model is not to be had."""
        asked: Mapping[str, Any] = turn.request.get("completion") or {}
        try:
            endpoint = await self.catalog.completion(turn.owner, asked.get("provider"), asked.get("model"))
        except errors.ApeRAGError as err:
            raise TurnFailed(err.error_code, err.message) from err
        if endpoint is None:
            model = extractive(turn.request, findings, turn.chat_id)
            return Chosen(f"{LOCAL}/{EXTRACTIVE}", model, {})
        return Chosen(f"{endpoint.provider}/{endpoint.model}", _openai(endpoint), _settings(asked))


def _openai(endpoint: Endpoint) -> Model:
    # Importing the client takes a second, which agents that only use the built-in model need not spend.
    from openai import AsyncOpenAI  # noqa: PLC0415
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
    from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415

    client = AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key or "none",
        http_client=endpoint.http_client,
        max_retries=0,  # the transport retries, within the provider's budget
    )
    return OpenAIChatModel(endpoint.model, provider=OpenAIProvider(openai_client=client))


def _settings(asked: Mapping[str, Any]) -> ModelSettings:
    settings: ModelSettings = {}
    if asked.get("temperature") is not None:
        settings["temperature"] = float(asked["temperature"])
    if asked.get("max_tokens") is not None:
        settings["max_tokens"] = int(asked["max_tokens"])
    return settings
