"""Failures in the form that OpenAI's clients read."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = "/v1/"

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


class TurnFailure(errors.ClientError):
    """An answer that could not be made though the request was right; its turn says why."""

    code, number, status = "AGENT_ERROR", 2000, 500


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """``code`` is the contract's name of the failure, in their spelling."""
    kind = _TYPES.get(status, "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error")
    named = _CODES.get(status) or (code.lower() if code else None)
    return {"error": {"message": message, "type": kind, "param": param, "code": named}}


def invalid_body(error: Mapping[str, Any]) -> dict[str, Any]:
    """Of the first thing that is wrong with a request, as pydantic tells it."""
    place, reason = error["loc"][1:], str(error["msg"])
    if error["type"] == "json_invalid":
        return error_body(400, f"The body is no JSON, from character {place[0]} on", "invalid_request")
    param = ".".join(map(str, place))
    return error_body(400, f"{param}: {reason}" if param else reason, "invalid_request", param or None)
