"""Why a request to an address that a user named was not made, or brought nothing."""

from __future__ import annotations

from aperag_common import errors


class InvalidUrl(errors.Terminal):
    """Not an http or https address that may be asked for."""

    code = "INVALID_URL"


class BlockedAddress(errors.Terminal):
    """The host is not on the public internet, and settings do not allow it."""

    code = "BLOCKED_ADDRESS"


class TooManyRedirects(errors.Terminal):
    code = "TOO_MANY_REDIRECTS"


class TooLarge(errors.Terminal):
    """More bytes than the caller takes, as they travel or once unpacked."""

    code = "TOO_LARGE"


class BrokenResponse(errors.Retryable):
    """What came is not HTTP, ended early, or cannot be unpacked."""

    code = "BROKEN_RESPONSE"


class Unreachable(errors.Retryable):
    """No such host, or nobody answers there."""

    code = "UNREACHABLE"


class TimedOut(errors.Retryable):
    code = "TIMEOUT"
