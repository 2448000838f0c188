"""What a turn is begun with, and where it stands; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_api.conversation.turns.schemas import TurnError, TurnState
from aperag_common.db.models.base import JobStatus, is_open
from aperag_common.db.models.turn import TurnOutcome
from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aperag_api.conversation.bots.decide import AgentConfig
    from aperag_api.conversation.turns.schemas import AgentMessage
    from aperag_api.kernel.model_spec import ModelSpec

LOCAL = "local"
_ENDS = {
    TurnOutcome.ANSWERED: TurnState.ANSWERED,
    TurnOutcome.FAILED: TurnState.FAILED,
    TurnOutcome.CANCELLED: TurnState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What holds for a turn: the message's word before the bot's."""

    completion: ModelSpec | None
    collection_ids: list[str]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a way of asking adds to a question.

    ``messages``: what was said before, ``[{"role", "content"}]`` with the roles system, user and assistant, where the
    client keeps the conversation itself; None: as the chat has it. ``settings``: ``temperature`` and ``max_tokens``.
    ``debug``: all that the nodes of a flow are given and give is told.
    """

    messages: list[dict[str, str]] | None = None
    settings: dict[str, float | int] = field(default_factory=dict)
    debug: bool = False


ASKED = ("query", "language", "collections", "completion", "web_search", "files", "messages")
"""What of a turn's request the client has said: the rest may have changed when it asks the same again."""


def is_same(before: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    return all(before.get(name) == asked.get(name) for name in ASKED)


def choices(message: AgentMessage, bot: AgentConfig) -> Choices:
    asked = message.completion if message.completion and message.completion.model else None
    named = list(dict.fromkeys(it.id for it in message.collections)) or bot.collection_ids
    return Choices(asked or bot.completion, named)


def completion_of(spec: ModelSpec | None) -> dict[str, Any] | None:
    """As ``turn.request`` names a model; None: the installation's default."""
    if spec is None:
        return None
    return {
        "provider": spec.model_service_provider or LOCAL,
        "model": spec.model,
        "temperature": spec.temperature,
        "max_tokens": spec.max_completion_tokens or spec.max_tokens,
    }


def reach_of(chosen: Sequence[str], reach: Sequence[str] | None) -> list[str] | None:
    """The only collections that the turn's tools see; None: all that its asker may read.

    What is chosen narrows what the asker's key reaches, and never widens it.
    """
    if not chosen:
        return None if reach is None else list(reach)
    return [it for it in chosen if reach is None or it in reach]


def state_of(status: str, outcome: str | None, *, held: bool, cancelling: bool) -> TurnState:
    if not is_open(status):
        return TurnState.FAILED if status == JobStatus.FAILED or outcome is None else _ENDS[TurnOutcome(outcome)]
    if cancelling:
        return TurnState.CANCELLING
    return TurnState.RUNNING if held else TurnState.QUEUED


def error_of(
    state: TurnState, parts: Sequence[Mapping[str, Any]], code: str | None, message: str | None
) -> TurnError | None:
    """Why a turn failed: as its agent said, or as its job does."""
    if state is not TurnState.FAILED:
        return None
    said = [part["data"] for part in parts if part["type"] == TurnEventKind.ERROR]
    if said:
        return TurnError(code=said[-1]["code"], message=said[-1]["message"])
    return TurnError(code=code or "TURN_FAILED", message=message or "The answer could not be made.")
