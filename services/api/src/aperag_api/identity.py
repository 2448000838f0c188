"""Users, sessions, invitations and providers, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.config.service import ConfigService
from aperag_api.invitations.service import InvitationService
from aperag_api.oauth.accounts import Accounts
from aperag_api.oauth.flow import FlowSeal
from aperag_api.oauth.providers import providers_of
from aperag_api.oauth.service import OAuthService
from aperag_api.proxies import Proxies
from aperag_api.sessions.login import Logins
from aperag_api.sessions.service import SessionService
from aperag_api.sessions.throttle import Throttle
from aperag_api.users.service import UserService
from aperag_common.auth.keys import KeyHasher
from aperag_common.auth.passwords import Passwords
from aperag_common.auth.tokens import SessionTokens
from aperag_common.auth.vault import Vault
from aperag_common.outbound.client import OutboundClient

if TYPE_CHECKING:
    from aperag_api.settings import Settings
    from aperag_common.auth.installation import InstallationSecret
    from aperag_work.runtime import Runtime

USER_AGENT = "ApeRAG"


@dataclass(frozen=True, slots=True)
class Identity:
    """``origins``: those besides our own whose pages may use a person's cookie."""

    proxies: Proxies
    origins: frozenset[str]
    sessions: SessionService
    logins: Logins
    users: UserService
    invitations: InvitationService
    oauth: OAuthService
    config: ConfigService
    passwords: Passwords

    async def close(self) -> None:
        await self.oauth.close()
        self.passwords.close()


def open_identity(runtime: Runtime, settings: Settings, secret: InstallationSecret) -> Identity:
    engine, hasher = runtime.engine, KeyHasher.of(secret.current, secret.previous)
    passwords = Passwords(settings.passwords)
    throttle = Throttle.of(engine, settings.login, secret.current)
    tokens = SessionTokens.of(secret.current, secret.previous, own=settings.jwt_secret)
    sessions = SessionService(engine, tokens, settings.login.lifetime)
    providers = providers_of(settings)
    return Identity(
        proxies=Proxies.of(settings.http.trusted_proxies),
        origins=settings.cors.trusted,
        sessions=sessions,
        logins=Logins(engine, sessions, passwords, throttle),
        users=UserService(
            engine, runtime.dispatcher, hasher, passwords, throttle, settings.register_mode, settings.work.first_due
        ),
        invitations=InvitationService(engine, Vault.of(secret.current, secret.previous), settings.invitation_lifetime),
        oauth=OAuthService(
            engine,
            OutboundClient(settings.outbound, user_agent=USER_AGENT),
            FlowSeal.of(secret.current, secret.previous),
            providers,
            Accounts(hasher, settings.register_mode),
            sessions,
            landing_url=settings.oauth.landing_url,
        ),
        config=ConfigService(engine, settings, providers),
        passwords=passwords,
    )
