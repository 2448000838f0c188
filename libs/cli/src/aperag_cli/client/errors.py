"""Why a request did not get what it asked for, always with what a person can do about it."""

from __future__ import annotations

from aperag_cli.errors import CliError


class ApiError(CliError):
    """The base of all of them."""


class Unreachable(ApiError):
    """No answer, or one that broke off: nobody knows whether the request was carried out."""


class ServerFailed(ApiError):
    """The gateway could not carry the request out; ``retryable`` where the same request may succeed later."""

    def __init__(self, message: str, *, hint: str = "", retryable: bool, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable
        self.retry_after = retry_after


class Refused(ApiError):
    """The request is not one that the gateway carries out, now or later."""


class NotAuthorised(ApiError):
    """The key is missing, wrong or revoked, or its user may not do this."""


class NotFound(ApiError):
    """What the request is about does not exist, or is somebody else's."""


class Ambiguous(ApiError):
    """A title names more than one thing."""


class NotAGateway(ApiError):
    """Something answers there, but it does not speak the contract."""
