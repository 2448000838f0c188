"""Settings of users, logins and providers; the gateway's settings are made of these and others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, PositiveInt, SecretStr

from aperag_api.identity.accounts.admission import RegisterMode
from aperag_api.identity.accounts.passwords import PasswordSettings
from aperag_api.identity.oauth.settings import OAuthSettings
from aperag_common.settings import Block, ServiceSettings

DEVELOPMENT = "dev"
"""Of ``deployment_mode``."""


class LoginSettings(Block):
    """How long a login holds, and how failed ones are slowed down."""

    lifetime: timedelta = Field(timedelta(seconds=86_400), description="a login holds for so long")
    name_failures: PositiveInt = Field(5, description="failed logins of one name until it is blocked for a while")
    address_failures: PositiveInt = Field(20, description="failed logins from one address until it is blocked")
    first_block: timedelta = Field(timedelta(seconds=5), description="the first block; each further failure doubles it")
    longest_block: timedelta = Field(timedelta(minutes=15), description="no block is longer")
    forgotten: timedelta = Field(timedelta(hours=1), description="failures count no longer after so long without one")


class OutsideSettings(Block):
    """Other services that connect to NATS with an API key."""

    enabled: bool = Field(True, description="whether other services may connect to NATS with an API key")
    issuer_file: Path | None = Field(
        None,
        description="file with the account nkey seed under which the gateway says who they are, and whose public key"
        " NATS' configuration names as the callout's issuer; none = nobody may connect",
    )
    servers: tuple[str, ...] = Field(
        (), description="addresses of NATS that they are told to connect to, as a JSON list; empty = the gateway's own"
    )
    sweep_every: timedelta = Field(
        timedelta(seconds=30), description="how often connections are looked at whose key may have ended unnoticed"
    )


def _named(variable: str, description: str) -> Any:
    choices = AliasChoices(variable.lower(), f"APERAG_{variable}", variable)
    return Field(None, validation_alias=choices, description=description)


class IdentitySettings(ServiceSettings):
    """The contract's own names stand beside ours."""

    outside: OutsideSettings = Field(default_factory=OutsideSettings)
    register_mode: RegisterMode = Field(
        RegisterMode.UNLIMITED,
        validation_alias=AliasChoices("register_mode", "APERAG_REGISTER_MODE", "REGISTER_MODE"),
        description="who may register: `unlimited` (anybody) or `invitation`; the first user always may",
    )
    jwt_secret: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("jwt_secret", "APERAG_JWT_SECRET", "JWT_SECRET"),
        description="secret of at least 32 bytes that sessions are signed under (HS256); none = a key made from"
        " APERAG_SECRET_KEY. Setting or changing it ends all logins",
    )
    deployment_mode: str = Field(
        "production",
        validation_alias=AliasChoices("deployment_mode", "APERAG_DEPLOYMENT_MODE", "DEPLOYMENT_MODE"),
        description="`dev` opens POST /test/register_admin, which makes anybody an administrator",
    )
    auth_type: Literal["cookie", "auth0", "authing", "logto"] = Field(
        "cookie",
        validation_alias=AliasChoices("auth_type", "APERAG_AUTH_TYPE", "AUTH_TYPE"),
        description="what GET /config tells a console of how people log in",
    )
    auth_domain: str = Field("", description="domain that GET /config tells beside an `auth_type` other than cookie")
    auth_app_id: str = Field("", description="application that GET /config tells beside it")
    invitation_lifetime: timedelta = Field(timedelta(days=7), description="an invitation may be used for so long")
    oauth_redirect_url: str | None = Field(
        None,
        validation_alias=AliasChoices("oauth_redirect_url", "APERAG_OAUTH_REDIRECT_URL", "OAUTH_REDIRECT_URL"),
        description="page of the console that people come back to from a provider: its name is appended after a `/`, or"
        " put in place of `{provider}`; required with a provider",
    )
    google_oauth_client_id: str | None = _named("GOOGLE_OAUTH_CLIENT_ID", "short for the provider `google`")
    google_oauth_client_secret: SecretStr | None = _named("GOOGLE_OAUTH_CLIENT_SECRET", "and its secret")
    github_oauth_client_id: str | None = _named("GITHUB_OAUTH_CLIENT_ID", "short for the provider `github`")
    github_oauth_client_secret: SecretStr | None = _named("GITHUB_OAUTH_CLIENT_SECRET", "and its secret")
    login: LoginSettings = Field(default_factory=LoginSettings)
    passwords: PasswordSettings = Field(default_factory=PasswordSettings)
    oauth: OAuthSettings = Field(default_factory=OAuthSettings)
