"""Providers as the sign-in needs them, put together from settings and the contract's own variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.identity.oauth.settings import GITHUB, GOOGLE, GOOGLE_ISSUER, ProviderSettings

if TYPE_CHECKING:
    from aperag_api.identity.settings import IdentitySettings

GITHUB_SCOPE = "read:user user:email"


@dataclass(frozen=True, slots=True)
class Provider:
    """``issuer`` is None where the provider is GitHub; ``redirect_uri`` is where it sends people back to."""

    name: str
    settings: ProviderSettings
    issuer: str | None
    redirect_uri: str

    @property
    def secret(self) -> str | None:
        return None if self.settings.client_secret is None else self.settings.client_secret.get_secret_value()

    @property
    def scope(self) -> str:
        return GITHUB_SCOPE if self.issuer is None else self.settings.scope


def providers_of(settings: IdentitySettings) -> dict[str, Provider]:
    """By name. Where people come back to is never taken from a request."""
    known = dict(settings.oauth.providers)
    for name, client_id, secret in (
        (GOOGLE, settings.google_oauth_client_id, settings.google_oauth_client_secret),
        (GITHUB, settings.github_oauth_client_id, settings.github_oauth_client_secret),
    ):
        if client_id and secret is not None:
            known.setdefault(name, ProviderSettings(client_id=client_id, client_secret=secret))
    if known and not settings.oauth_redirect_url:
        raise ValueError("people come back from a provider to OAUTH_REDIRECT_URL followed by / and its name: set it")
    return {name: _provider(name, it, settings.oauth_redirect_url or "") for name, it in sorted(known.items())}


def _provider(name: str, settings: ProviderSettings, redirect_url: str) -> Provider:
    issuer = settings.issuer or (GOOGLE_ISSUER if name == GOOGLE else None)
    named = "{provider}" in redirect_url
    uri = redirect_url.replace("{provider}", name) if named else f"{redirect_url.rstrip('/')}/{name}"
    return Provider(name, settings, issuer, uri)
