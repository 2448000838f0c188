"""A sign-in with a provider, from the address that a person is sent to, to their session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from starlette.exceptions import HTTPException

from aperag_api.identity.oauth.asking import Asking
from aperag_api.identity.oauth.discovery import Discovery
from aperag_api.identity.oauth.exchange import authorization_url, tokens_for
from aperag_api.identity.oauth.failures import ProviderFailed, Unproved
from aperag_api.identity.oauth.flow import Flow
from aperag_api.identity.oauth.identities import github_identity, identity_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.identity.oauth.accounts import Accounts
    from aperag_api.identity.oauth.flow import FlowSeal
    from aperag_api.identity.oauth.identities import Identity
    from aperag_api.identity.oauth.providers import Provider
    from aperag_api.identity.sessions.service import SessionService, Visitor
    from aperag_common.outbound.client import OutboundClient
    from aperag_work.dispatcher import Dispatcher

log = structlog.get_logger(__name__)

POST = "client_secret_post"


@dataclass(frozen=True, slots=True)
class Returned:
    """What a browser brings back: from the provider in the address, from us in the cookie."""

    code: str
    state: str
    error: str
    sealed: str


class OAuthService:
    """``landing_url`` is where a browser goes afterwards that came straight from the provider."""

    def __init__(
        self,
        engine: AsyncEngine,
        dispatcher: Dispatcher,
        client: OutboundClient,
        seal: FlowSeal,
        providers: Mapping[str, Provider],
        accounts: Accounts,
        sessions: SessionService,
        *,
        landing_url: str | None,
    ) -> None:
        self.providers = providers
        self.landing_url = landing_url
        self._engine = engine
        self._dispatcher = dispatcher
        self._client = client
        self._seal = seal
        self._accounts = accounts
        self._sessions = sessions
        self._discoveries = {
            name: Discovery(Asking(client, name), it.issuer) for name, it in providers.items() if it.issuer
        }

    async def close(self) -> None:
        await self._client.close()

    async def authorize(self, name: str) -> tuple[str, str]:
        """The address at the provider, and what the browser is to keep until it is back."""
        provider, flow = self._provider(name), Flow.begin()
        discovery = self._discoveries.get(name)
        endpoint = provider.settings.github.authorize
        if discovery is not None:
            endpoint = (await discovery.metadata()).authorization_endpoint
        url = authorization_url(Asking(self._client, name), provider, endpoint, flow)
        return url, self._seal.seal(name, flow)

    async def finish(self, name: str, returned: Returned, visitor: Visitor) -> str:
        """The token of the session; raises ``Unproved`` for whatever does not belong to a sign-in of this browser."""
        try:
            identity = await self._prove(self._provider(name), returned)
        except (Unproved, ProviderFailed) as err:
            log.warning("oauth.refused", provider=name, reason=err.reason)
            raise
        async with self._engine.begin() as conn:
            user, change = await self._accounts.user_of(conn, name, identity)
            token = await self._sessions.open(conn, user, visitor)
        self._dispatcher.deliver(change)
        if token is None:
            raise HTTPException(403, "This user is no longer active: ask an administrator")
        return token

    async def _prove(self, provider: Provider, returned: Returned) -> Identity:
        flow = self._seal.open(provider.name, returned.sealed)
        if flow is None or not flow.is_answered_by(returned.state):
            raise Unproved("no sign-in of this browser is waiting for this answer")
        if returned.error or not returned.code:
            raise Unproved(f"the provider answered {returned.error[:100] or 'nothing'!r}")
        discovery = self._discoveries.get(provider.name)
        if discovery is None:
            return await self._prove_github(provider, returned.code, flow)
        metadata = await discovery.metadata()
        tokens = await tokens_for(
            discovery.asking,
            provider,
            metadata.token_endpoint,
            code=returned.code,
            flow=flow,
            auth_method=metadata.auth_method,
        )
        return await identity_of(discovery, provider, tokens, flow)

    async def _prove_github(self, provider: Provider, code: str, flow: Flow) -> Identity:
        asking, addresses = Asking(self._client, provider.name), provider.settings.github
        tokens = await tokens_for(asking, provider, addresses.token, code=code, flow=flow, auth_method=POST)
        return await github_identity(asking, addresses.api, tokens["access_token"])

    def _provider(self, name: str) -> Provider:
        provider = self.providers.get(name)
        if provider is None:
            raise HTTPException(404, "There is no such provider: GET /config lists those that there are")
        return provider
