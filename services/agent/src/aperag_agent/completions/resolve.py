"""From what a turn asks for to a model of the agent library; the built-in one where nobody chose another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from aperag_agent.failures import TurnFailed
from aperag_agent.local.model import NAME as EXTRACTIVE
from aperag_agent.local.model import extractive
from aperag_common import errors
from aperag_models.refs import LOCAL, ModelRef

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2
    from pydantic_ai.models import Model
    from pydantic_ai.settings import ModelSettings

    from aperag_agent.tools.findings import Findings
    from aperag_agent.turns.repository import TurnRow
    from aperag_models.catalog import Models
    from aperag_models.clients.asking import Endpoint


@dataclass(frozen=True, slots=True)
class Chosen:
    """``name`` is shown to people."""

    name: str
    model: Model
    settings: ModelSettings


@dataclass(frozen=True, slots=True)
class Completions:
    catalog: Models

    async def of_turn(self, turn: TurnRow, findings: Findings) -> Chosen:
        """Raises ``TurnFailed`` where the model is not to be had."""
        asked: Mapping[str, Any] = turn.request.get("completion") or {}
        return await self.of(turn.owner, asked, lambda: extractive(turn.request, findings, turn.chat_id))

    async def of(self, owner: str, asked: Mapping[str, Any], built_in: Callable[[], Model]) -> Chosen:
        """``asked`` names ``provider`` and ``model``, both or none, and may name settings.

        ``built_in`` makes what answers where no other model is meant. Raises ``TurnFailed``.
        """
        try:
            ref = ModelRef(str(asked["provider"]), str(asked["model"])) if asked.get("model") else None
            endpoint = await self.catalog.completion(owner, ref)
        except errors.ApeRAGError as err:
            raise TurnFailed(err.error_code, err.message) from err
        if endpoint is None:
            return Chosen(f"{LOCAL}/{EXTRACTIVE}", built_in(), {})
        return Chosen(f"{endpoint.provider}/{endpoint.model}", _openai(endpoint), _settings(asked))


def _openai(endpoint: Endpoint) -> Model:
    # Importing the client takes a second, which agents that only use the built-in model need not spend.
    from openai import AsyncOpenAI  # noqa: PLC0415
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
    from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415

    client = AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key or "none",
        http_client=cast("httpx2.AsyncClient", endpoint.http),  # it takes either of the two generations
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
