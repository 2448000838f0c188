"""Providers that people may sign in with."""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from aperag_common.settings import Block

NAME = re.compile(r"[a-z0-9_-]{1,32}")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

GOOGLE = "google"
GITHUB = "github"
GOOGLE_ISSUER = "https://accounts.google.com"


class GithubAddresses(Block):
    """GitHub speaks OAuth without OpenID Connect: its addresses stand here; an Enterprise server has its own."""

    authorize: str = Field("https://github.com/login/oauth/authorize", description="where the person agrees")
    token: str = Field("https://github.com/login/oauth/access_token", description="where a code is exchanged")
    api: str = Field("https://api.github.com", description="where the account is read")


class ProviderSettings(Block):
    """``issuer`` names any OpenID Connect provider; the one called `google` knows its own."""

    client_id: str = Field(min_length=1, description="the application's id at the provider")
    client_secret: SecretStr | None = Field(None, description="its secret; none = a public client, by PKCE alone")
    issuer: str | None = Field(None, description="address of the OpenID Connect issuer, exactly as it calls itself")
    label: str = Field("", description="what people see; none = the provider's name")
    scope: str = Field("openid email profile", description="what is asked for, separated by spaces")
    github: GithubAddresses = Field(default_factory=GithubAddresses)

    @field_validator("issuer")
    @classmethod
    def _over_tls(cls, issuer: str | None) -> str | None:
        parts = urlsplit(issuer or GOOGLE_ISSUER)
        if not parts.hostname or not (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        ):
            raise ValueError(f"{issuer!r} is no issuer: write its https address")
        return issuer


class OAuthSettings(Block):
    """Each provider's block is named by its name: `APERAG_OAUTH__PROVIDERS__<name>__CLIENT_ID` and so on."""

    providers: dict[str, ProviderSettings] = Field(
        default_factory=dict,
        description="client_id, client_secret, issuer, label and scope of each provider, as in"
        " APERAG_OAUTH__PROVIDERS__AUTH0__ISSUER=https://example.auth0.com/",
    )
    landing_url: str | None = Field(
        None, description="where a browser goes that comes from the provider straight to the gateway; none = nowhere"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, provider in self.providers.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a provider: use small letters, digits, - and _")
            if provider.issuer is None and name not in {GOOGLE, GITHUB}:
                message = f"the provider {name!r} needs an issuer: set APERAG_OAUTH__PROVIDERS__{name.upper()}__ISSUER"
                raise ValueError(message)
        return self
