"""What a signed-in person's browser holds, and how it is shown to the gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

SESSION = "session"
"""The gateway's own cookie: who is signed in there is signed in here."""
KEY = "console_key"
"""An API key that somebody signed in with."""


@dataclass(frozen=True, slots=True)
class Credential:
    """``cookie`` names the cookie that holds ``value``."""

    cookie: str
    value: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        if self.cookie == KEY:
            return {"Authorization": f"Bearer {self.value}"}
        return {"Cookie": f"{SESSION}={self.value}"}


def credential_of(request: HTTPConnection) -> Credential | None:
    """Of the browser that asks; the console keeps none itself, so any replica answers any tab."""
    for cookie in (KEY, SESSION):
        value = request.cookies.get(cookie)
        if value and value.isascii() and ";" not in value:
            return Credential(cookie, value)
    return None
