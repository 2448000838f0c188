"""Whose key a call is made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastmcp.server.dependencies import get_http_headers

from aperag_mcp.gateway.failures import NO_KEY, GatewayFailure

if TYPE_CHECKING:
    from pydantic import SecretStr

AUTHORIZATION = "authorization"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The caller's own; ``fallback`` where a call brings none, as over stdio."""

    fallback: SecretStr | None

    def headers(self) -> dict[str, str]:
        """Read within the call that they are for, so that no caller is ever given another one's."""
        own = get_http_headers(include={AUTHORIZATION}).get(AUTHORIZATION, "").strip()
        if own:
            return {AUTHORIZATION: own}
        if self.fallback is None or not self.fallback.get_secret_value():
            raise GatewayFailure(NO_KEY)
        return {AUTHORIZATION: f"Bearer {self.fallback.get_secret_value()}"}
