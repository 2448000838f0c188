"""Answers of the gateway that are failures."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aperag_common.gateway import refusal_in

if TYPE_CHECKING:
    from collections.abc import Mapping

QUOTED_CHARACTERS = 500
NO_ANSWER = "failure.no_answer"
LOST = "failure.lost"


class GatewayFailure(Exception):
    """``status`` is None where the gateway did not answer: ``message`` is then the key of a text of ours."""

    def __init__(
        self, message: str, *, status: int | None = None, code: str = "", trace_id: str = "", retry_after: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.trace_id = trace_id
        self.retry_after = retry_after

    @property
    def unauthorized(self) -> bool:
        return self.status == HTTPStatus.UNAUTHORIZED

    @property
    def shown_as(self) -> int:
        """The status of the page that tells of it."""
        return self.status or HTTPStatus.BAD_GATEWAY


def failure_of(status: int, content: bytes, headers: Mapping[str, str]) -> GatewayFailure:
    body, told = refusal_in(content)
    said = told or content.decode(errors="replace").strip()[:QUOTED_CHARACTERS] or HTTPStatus(status).phrase
    return GatewayFailure(
        said,
        status=status,
        code=str(body.get("error_code") or ""),
        trace_id=str(body.get("trace_id") or ""),
        retry_after=headers.get("retry-after", ""),
    )
