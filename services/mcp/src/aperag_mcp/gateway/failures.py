"""Answers of the gateway that are failures, in words that an agent can act on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastmcp.exceptions import FastMCPError

from aperag_common.gateway import refusal_in

if TYPE_CHECKING:
    from collections.abc import Mapping

QUOTED_CHARACTERS = 500
NO_KEY = (
    "No API key was sent. Send one as the header `Authorization: Bearer sk-…` of the MCP connection,"
    " or start the server with APERAG_API_KEY."
)
NO_ANSWER = (
    "The gateway does not answer. Try again later; if it stays so, it is not running, or its address (APERAG_API_URL)"
    " is wrong."
)
NOT_OFFERED = (
    "This gateway does not offer that: its version has no such route, or its address (APERAG_API_URL) is wrong."
    " Do without this tool."
)
_LATER = "Try again later."
_REMEDIES = {
    "COLLECTION_NOT_FOUND": "Call list_collections for the ids of those there are.",
    "DOCUMENT_NOT_FOUND": "Call list_documents with the collection's id for those there are.",
    "DOCUMENT_NAME_CONFLICT": "Choose another name: documents are not overwritten.",
    "CHAT_NOT_FOUND": "Use the id of a chat of yours.",
    "COLLECTION_INACTIVE": "Use another collection: list_collections says which are ACTIVE.",
    "QUOTA_EXCEEDED": "Delete what is not needed, or ask an administrator for more.",
}
_BY_STATUS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Send a valid one: keys can be revoked.",
    HTTPStatus.FORBIDDEN: "Use the API key of a user who may do this.",
    HTTPStatus.BAD_REQUEST: "Change the arguments: the same call will be refused again.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Change the arguments: the same call will be refused again.",
    HTTPStatus.CONFLICT: "Look at the current state first: document_status says what it is.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Send less at a time.",
}


class GatewayFailure(FastMCPError):
    """``str()`` says what is wrong and what to do; ``status`` is None where the gateway did not answer."""

    def __init__(self, message: str, *, status: int | None = None, code: str = "") -> None:
        # An expected failure: the caller is told, the log is not.
        super().__init__(message, log_level=logging.DEBUG)
        self.status = status
        self.code = code

    @property
    def missing(self) -> bool:
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def route_missing(self) -> bool:
        """The gateway has no such route, whatever the ids."""
        return self.code == _Answer.NO_ROUTE


@dataclass(frozen=True, slots=True)
class _Answer:
    """A failure in any of the contract's shapes."""

    NO_ROUTE = "NO_ROUTE"

    status: int
    code: str
    said: str
    trace_id: str | None
    retry_after: str | None


def failure_of(status: int, body: bytes, headers: Mapping[str, str]) -> GatewayFailure:
    answer = _read(status, body, headers)
    return GatewayFailure(_explain(answer), status=status, code=answer.code)


def _explain(answer: _Answer) -> str:
    if answer.code == _Answer.NO_ROUTE:
        return NOT_OFFERED
    said = answer.said.rstrip(". ")
    if answer.status == HTTPStatus.UNAUTHORIZED:
        said = "The API key is not accepted"
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        trace = f", trace {answer.trace_id}" if answer.trace_id else ""
        when = f"Try again in {answer.retry_after} s." if answer.retry_after else _LATER
        return f"The gateway could not do it: {said} ({answer.status}{trace}). {when}"
    remedy = _REMEDIES.get(answer.code) or _BY_STATUS.get(answer.status, "")
    return f"{said}. {remedy}".strip()


def _read(status: int, content: bytes, headers: Mapping[str, str]) -> _Answer:
    body, told = refusal_in(content)
    said = told or content.decode(errors="replace").strip()[:QUOTED_CHARACTERS] or "no reason given"
    code = str(body.get("error_code") or "")
    if status == HTTPStatus.METHOD_NOT_ALLOWED or (status == HTTPStatus.NOT_FOUND and said == "Not Found"):
        code = _Answer.NO_ROUTE
    trace_id = body.get("trace_id")
    return _Answer(status, code, said, str(trace_id) if trace_id else None, headers.get("retry-after"))
