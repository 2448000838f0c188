"""Users, their credentials, quotas and the audit log, put together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aperag_api.access.quotas.repository import open_rows
from aperag_api.conversation.bots.provisioning import provide_bot
from aperag_api.identity.accounts.admission import Admission
from aperag_api.identity.accounts.passwords import Passwords
from aperag_api.identity.apikeys.service import ApiKeyService
from aperag_api.identity.audit.service import AuditService
from aperag_api.identity.audit.trail import AuditTrail
from aperag_api.identity.config.service import ConfigService
from aperag_api.identity.invitations.service import InvitationService
from aperag_api.identity.oauth.accounts import Accounts
from aperag_api.identity.oauth.flow import FlowSeal
from aperag_api.identity.oauth.providers import providers_of
from aperag_api.identity.oauth.service import OAuthService
from aperag_api.identity.outsiders.admission import OutsiderAdmission
from aperag_api.identity.outsiders.callout import Callout
from aperag_api.identity.outsiders.claims import Signer
from aperag_api.identity.outsiders.connections import Connections
from aperag_api.identity.outsiders.service import OutsiderService
from aperag_api.identity.quotas.service import QuotaService
from aperag_api.identity.services import Identity
from aperag_api.identity.sessions.login import Logins
from aperag_api.identity.sessions.service import SessionService
from aperag_api.identity.sessions.throttle import Throttle
from aperag_api.identity.sessions.tokens import SessionTokens
from aperag_api.identity.users.service import UserService
from aperag_api.knowledge.chat_documents.home import provide_home
from aperag_common.auth.vault import Vault
from aperag_common.http.front import Front
from aperag_common.outbound.client import OutboundClient
from aperag_retrieval.local import default_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_api.edge.settings import Settings
    from aperag_api.identity.accounts.admission import Provide
    from aperag_api.identity.apikeys.credentials import ApiKeyCredentials
    from aperag_api.identity.apikeys.keys import KeyHasher
    from aperag_api.kernel.revocations import Revocations
    from aperag_common.auth.installation import InstallationSecret
    from aperag_work.runtime import Runtime

USER_AGENT = "ApeRAG"


def everybody_has(settings: Settings) -> Sequence[Provide]:
    model = default_model(fast=settings.models.fast)
    return open_rows, provide_bot, partial(provide_home, model=model)


def open_identity(
    runtime: Runtime,
    settings: Settings,
    secret: InstallationSecret,
    hasher: KeyHasher,
    *,
    keys: ApiKeyCredentials,
    revocations: Revocations,
) -> Identity:
    engine, trail = runtime.engine, AuditTrail(runtime.engine)
    admission = Admission(hasher, everybody_has(settings))
    passwords = Passwords(settings.passwords)
    throttle = Throttle.of(engine, settings.login, secret.current)
    tokens = SessionTokens.of(secret.current, secret.previous, own=settings.jwt_secret)
    sessions = SessionService(engine, tokens, settings.login.lifetime)
    providers = providers_of(settings)
    return Identity(
        front=Front.of(settings.http.trusted_proxies, settings.public_url),
        sessions=sessions,
        logins=Logins(engine, sessions, passwords, throttle),
        users=UserService(
            engine, runtime.dispatcher, admission, passwords, throttle, settings.register_mode, settings.work.first_due
        ),
        invitations=InvitationService(engine, Vault.of(secret.current, secret.previous), settings.invitation_lifetime),
        oauth=OAuthService(
            engine,
            runtime.dispatcher,
            OutboundClient(settings.outbound, user_agent=USER_AGENT),
            FlowSeal.of(secret.current, secret.previous),
            providers,
            Accounts(admission, settings.register_mode),
            sessions,
            landing_url=settings.oauth.landing_url,
        ),
        config=ConfigService(engine, settings, providers),
        api_keys=ApiKeyService(engine, hasher, runtime.dispatcher),
        outsiders=_outsiders(runtime, settings, OutsiderAdmission(engine, keys, trail), revocations),
        quotas=QuotaService(engine, runtime.dispatcher),
        audit=AuditService(engine, trail),
    )


def _outsiders(
    runtime: Runtime, settings: Settings, admission: OutsiderAdmission, revocations: Revocations
) -> OutsiderService:
    outside, nats = settings.outside, settings.nats
    callout = None
    if outside.issuer_file is not None:
        callout = Callout(runtime.bus, admission, Signer(outside.issuer_file), enabled=outside.enabled)
    return OutsiderService(
        engine=runtime.engine,
        dispatcher=runtime.dispatcher,
        revocations=revocations,
        admission=admission,
        connections=Connections(runtime.bus),
        callout=callout,
        settings=outside if outside.servers else outside.model_copy(update={"servers": (nats.url,)}),
        authority=None if nats.tls_ca is None else nats.tls_ca.read_text(encoding="ascii"),
    )
