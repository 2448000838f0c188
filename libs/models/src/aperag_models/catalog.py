"""From the name of a model to what can be called, for one user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import httpx

from aperag_common import errors
from aperag_common.auth.vault import VaultError
from aperag_common.db.session import autocommit
from aperag_common.outbound.client import trust
from aperag_common.outbound.guard import Guard
from aperag_common.outbound.transport import GuardedTransport
from aperag_models import keys, repository
from aperag_models.clients import embeddings as embedding_client
from aperag_models.clients import rerank as rerank_client
from aperag_models.clients.asking import Endpoint
from aperag_models.clients.embeddings import RemoteEmbedder
from aperag_models.refs import LOCAL, Api, ModelRef, Scenario
from aperag_models.slots import Slots
from aperag_models.transport import ProviderTransport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.auth.vault import Vault
    from aperag_common.outbound.settings import OutboundSettings
    from aperag_models.clients.rerank import Ranked
    from aperag_models.repository import Offer
    from aperag_models.settings import CallingSettings, ModelSettings

PROBE = "How long is an embedding?"


@dataclass(frozen=True, slots=True)
class _Found:
    endpoint: Endpoint
    offer: Offer


class Models:
    """One per process. ``keys`` opens the providers' API keys; where it is None only built-in models can be used.

    Each provider has one client, whoever calls; who calls is told by the key of the request. What is found is looked up
    anew for each call: a key that was changed counts at once, on every replica.
    """

    def __init__(
        self, engine: AsyncEngine, vault: Vault | None, outbound: OutboundSettings, settings: ModelSettings
    ) -> None:
        self._engine, self._vault, self._settings = engine, vault, settings
        self._guard = Guard(outbound)
        self._inner = GuardedTransport(self._guard, trust(outbound), max_connections=outbound.max_connections)
        self._slots = Slots(engine, settings.slots)
        self._clients: dict[str, httpx.AsyncClient] = {}

    @classmethod
    def of(cls, engine: AsyncEngine, settings: CallingSettings) -> Self:
        """For a service that was given no other secret."""
        return cls(engine, keys.vault_of(settings), settings.outbound, settings.models)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        await self._slots.close()
        await self._inner.aclose()
        self._guard.close()

    async def completion(self, user_id: str, ref: ModelRef | None) -> Endpoint | None:
        """Without ``ref`` the installation's default for agents; None where the built-in model is meant."""
        ref = ref or await self.default(Scenario.AGENT_COMPLETION)
        if ref is None or ref.provider == LOCAL:
            return None
        return (await self._find(user_id, ref, Api.COMPLETION)).endpoint

    async def default(self, scenario: Scenario) -> ModelRef | None:
        async with autocommit(self._engine) as conn:
            found = await repository.default(conn, scenario.value)
        return None if found is None else ModelRef(*found)

    async def embedder(self, user_id: str, model_id: str) -> RemoteEmbedder:
        """Its length is learnt from a first answer and kept."""
        ref = ModelRef.parse(model_id)
        found = await self._find(user_id, ref, Api.EMBEDDING)
        dimensions = found.offer.dimensions
        if dimensions is None:
            dimensions = (await embedding_client.embeddings(found.endpoint, [PROBE])).shape[1]
            async with autocommit(self._engine) as conn:
                await repository.learn_dimensions(conn, ref.provider, ref.model, dimensions)
        return RemoteEmbedder(found.endpoint, model_id, dimensions, self._settings.batch)

    async def rerank(
        self, user_id: str, model_id: str, query: str, documents: Sequence[str], top_n: int
    ) -> list[Ranked]:
        found = await self._find(user_id, ModelRef.parse(model_id), Api.RERANK)
        return await rerank_client.rerank(found.endpoint, found.offer.rerank_dialect, query, documents, top_n)

    async def _find(self, user_id: str, ref: ModelRef, api: Api) -> _Found:
        """Raises ``ClientError`` where the user has no such model, or nobody has entered its provider's key."""
        async with autocommit(self._engine) as conn:
            offer = await repository.offer(conn, user_id, ref.provider, api.value, ref.model)
        if offer is None:
            message = f"Provider {ref.provider} not found. Add it, or choose one of those that are available."
            raise errors.ProviderNotFound(message)
        if not offer.known:
            message = (
                f"Provider {ref.provider} has no {api.value} model {ref.model}. Add it, or choose one that it has."
            )
            raise errors.ModelNotFound(message)
        key = self._opened(offer)
        endpoint = Endpoint(ref, offer.base_url, key, self._client(ref.provider), offer.max_output_tokens)
        return _Found(endpoint, offer)

    def _opened(self, offer: Offer) -> str:
        if offer.api_key is None:
            message = f"Provider {offer.provider} has no API key. Enter one, or choose another provider."
            raise errors.ProviderKeyMissing(message)
        if self._vault is None:
            message = (
                "This service was not given the secret that providers' keys are encrypted under:"
                " set APERAG_PROVIDER_KEYS, as docs/models.md says."
            )
            raise errors.ProviderKeyMissing(message)
        try:
            return self._vault.decrypt(offer.api_key, context=keys.context(offer.provider))
        except VaultError as err:
            message = f"The API key of the provider {offer.provider} cannot be read: enter it again. {err}"
            raise errors.ProviderKeyMissing(message) from err

    def _client(self, provider: str) -> httpx.AsyncClient:
        if provider not in self._clients:
            silence, connect = self._settings.silence.total_seconds(), self._settings.connect.total_seconds()
            self._clients[provider] = httpx.AsyncClient(
                transport=ProviderTransport(provider, self._inner, self._slots, self._settings),
                timeout=httpx.Timeout(silence, connect=connect, pool=connect),
                headers={"accept-encoding": "identity", "user-agent": "ApeRAG"},
                trust_env=False,
            )
        return self._clients[provider]
