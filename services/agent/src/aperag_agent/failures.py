"""Why a turn ended without its answer, in words for people, and never with what a provider was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
from fastmcp.exceptions import FastMCPError
from mcp import MCPError
from pydantic_ai import exceptions

from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_UNREACHABLE = (MCPError, FastMCPError, httpx2.HTTPError, OSError, TimeoutError)


class TurnFailed(Exception):
    """Said to the asker and kept with the turn; no defect of ours."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def data(self) -> Mapping[str, Any]:
        return {"code": self.code, "message": self.message}


def expired(minutes: float) -> TurnFailed:
    return TurnFailed("TURN_EXPIRED", f"The question waited {minutes:.0f} minutes for an agent: ask it again.")


def too_slow(seconds: float) -> TurnFailed:
    return TurnFailed("AGENT_TIMEOUT_ERROR", f"The answer took longer than {seconds:.0f} s. Ask for less at a time.")


def too_long(characters: int) -> TurnFailed:
    return TurnFailed("ANSWER_TOO_LONG", f"The answer grew beyond {characters} characters. Ask for less at a time.")


def of_tools(err: BaseException) -> errors.Retryable | None:
    """The turn is begun anew soon: who restarts the MCP service ends no turn. None for what is no failure of its.

    Its client reports a connection that failed as a RuntimeError, with what happened as the cause.
    """
    if not any(isinstance(it, _UNREACHABLE) for it in _causes(err)):
        return None
    message = "The tools cannot be reached, so nothing can be searched: is the MCP service running?"
    return errors.Retryable(message, code="MCP_CONNECTION_ERROR")


def silent() -> TurnFailed:
    return TurnFailed("MODEL_FAILED", "The model answered with nothing: ask again, or choose another model.")


_PASSING = frozenset({"MODEL_BUSY", "MODEL_FAILED", "MODEL_TIMEOUT"})


def may_pass(failure: TurnFailed) -> bool:
    """Whether the same question may be answered when it is asked again."""
    return failure.code in _PASSING


def of_flow(failure: TurnFailed | errors.ApeRAGError, node: str) -> TurnFailed:
    code = failure.code if isinstance(failure, TurnFailed) else "FLOW_EXECUTION_FAILED"
    return TurnFailed(code, f"The flow failed at the node {node}. {failure.message}")


def no_output() -> TurnFailed:
    return TurnFailed("FLOW_EXECUTION_FAILED", "No output node found")


def of_model(err: BaseException, model: str) -> TurnFailed:
    """``model`` is named so that people know which one; what it was asked is left out."""
    ours = next((it for it in _causes(err) if isinstance(it, errors.ApeRAGError)), None)
    if ours is not None:
        return TurnFailed(ours.error_code, ours.message)
    return TurnFailed(*_of_provider(err, model))


def _of_provider(err: BaseException, model: str) -> tuple[str, str]:
    match err:
        case exceptions.UsageLimitExceeded():
            said = "TURN_LIMIT_EXCEEDED", f"The turn reached a limit: {err.message}"
        case exceptions.ModelHTTPError(status_code=402) | exceptions.ModelQuotaExceededError():
            said = "MODEL_QUOTA_EXCEEDED", f"The account at the provider of {model} has nothing left."
        case exceptions.ModelHTTPError(status_code=429) | exceptions.ModelRateLimitError():
            said = "MODEL_BUSY", f"The provider of {model} takes no more requests now: try again later."
        case exceptions.ModelHTTPError(status_code=401 | 403):
            said = "MODEL_REFUSED", f"The provider of {model} refuses the API key: check it."
        case exceptions.ModelHTTPError(status_code=404):
            said = "MODEL_NOT_FOUND", f"The provider knows no model {model}: choose another one."
        case exceptions.ModelHTTPError():
            said = "MODEL_FAILED", f"The provider of {model} answered with the status {err.status_code}."
        case exceptions.ModelAPIError():
            said = "MODEL_FAILED", f"The provider of {model} cannot be reached, or broke off."
        case _:
            said = "MODEL_FAILED", f"{model} did not answer in a form that can be used."
    return said


def named(err: BaseException) -> str:
    """What happened, for the log: no message, for providers quote what they were sent, keys as well."""
    return " < ".join(type(it).__name__ for it in _causes(err))


def _causes(err: BaseException | None) -> Iterator[BaseException]:
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__
