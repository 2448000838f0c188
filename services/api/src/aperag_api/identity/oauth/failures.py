"""How a sign-in with a provider fails."""

from __future__ import annotations

from starlette.exceptions import HTTPException


class Unproved(HTTPException):
    """What came back proves nothing; why is for the log, for whoever sent it may be an attacker."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, "The sign-in could not be completed: begin it again")
        self.reason = reason


class ProviderFailed(HTTPException):
    """The provider did not do its part."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(502, f"{provider} did not answer as expected: try again, or sign in in another way")
        self.reason = reason
