"""Why a turn ended without its answer, in words for people, and never with what a provider was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_ai import exceptions

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class TurnFailed(Exception):
    """Said to the asker and kept with the turn; no defect of ours."""

    code: str
    message: str

    @property
    def data(self) -> Mapping[str, Any]:
        return {"code": self.code, "message": self.message}


def expired(minutes: float) -> TurnFailed:
    return TurnFailed("TURN_EXPIRED", f"The question waited {minutes:.0f} minutes for an agent: ask it again.")


def interrupted() -> TurnFailed:
    message = "The agent ended after a tool had changed something, so the turn is not run again: look at what it did."
    return TurnFailed("TURN_INTERRUPTED", message)


def too_slow(seconds: float) -> TurnFailed:
    return TurnFailed("AGENT_TIMEOUT_ERROR", f"The answer took longer than {seconds:.0f} s. Ask for less at a time.")


def too_long(characters: int) -> TurnFailed:
    return TurnFailed("ANSWER_TOO_LONG", f"The answer grew beyond {characters} characters. Ask for less at a time.")


def of_model(err: exceptions.AgentRunError, model: str) -> TurnFailed:
    """``model`` is named so that people know which one; what it was asked is left out."""
    match err:
        case exceptions.UsageLimitExceeded():
            return TurnFailed("TURN_LIMIT_EXCEEDED", f"The turn reached a limit: {err.message}")
        case exceptions.ModelQuotaExceededError():
            return TurnFailed("MODEL_QUOTA_EXCEEDED", f"The account at the provider of {model} has nothing left.")
        case exceptions.ModelRateLimitError():
            return TurnFailed("MODEL_BUSY", f"The provider of {model} takes no more requests now: try again later.")
        case exceptions.ModelHTTPError(status_code=401 | 403):
            return TurnFailed("MODEL_REFUSED", f"The provider of {model} refuses the API key: check it.")
        case exceptions.ModelHTTPError(status_code=404):
            return TurnFailed("MODEL_NOT_FOUND", f"The provider knows no model {model}: choose another one.")
        case exceptions.ModelHTTPError():
            return TurnFailed("MODEL_FAILED", f"The provider of {model} answered with the status {err.status_code}.")
        case exceptions.ModelAPIError():
            return TurnFailed("MODEL_FAILED", f"The provider of {model} cannot be reached, or broke off.")
        case _:
            return TurnFailed("MODEL_FAILED", f"{model} did not answer in a form that can be used.")
