"""What an answer to a delivery means; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

REDIRECTED = "The receiver redirects, and redirects are not followed: register the address that it leads to"


class Verdict(StrEnum):
    """What becomes of the delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GIVE_UP = "give_up"
    DISABLE_GONE = "disable_gone"
    DISABLE_FAILING = "disable_failing"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request. ``status`` is null where there was no answer; ``response`` is how its body begins.

    ``code`` and ``message`` say what went wrong, null where nothing did.
    """

    attempt: int
    at: datetime
    seconds: float
    status: int | None = None
    code: str | None = None
    message: str | None = None
    response: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.code is None


def failure_of(status: int) -> tuple[str, str] | None:
    """Code and message of an answer that is no 2xx."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status == HTTPStatus.GONE:
        return "RECEIVER_GONE", "The receiver answered 410: it wants no more deliveries"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return "REDIRECTED", REDIRECTED
    return "RECEIVER_FAILED", f"The receiver answered {status}"


def judge(attempt: Attempt, *, last: bool, failing_too_long: bool) -> Verdict:
    """``last``: the schedule holds no further attempt."""
    if attempt.succeeded:
        return Verdict.DELIVERED
    if attempt.status == HTTPStatus.GONE:
        return Verdict.DISABLE_GONE
    if failing_too_long:
        return Verdict.DISABLE_FAILING
    return Verdict.GIVE_UP if last else Verdict.RETRY


def snippet(body: bytes) -> str:
    """As PostgreSQL can keep it."""
    return body.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
