"""API keys as credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.identity.apikeys import repository
from aperag_api.identity.apikeys.keys import KeyHasher, is_api_key
from aperag_api.kernel.auth import Caller, Credential, CredentialKind, Role, Scope, effective_role
from aperag_api.kernel.reading import reading

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class KeyBearer:
    """Who showed a key, and until when it holds."""

    caller: Caller
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApiKeyCredentials:
    """``last_used_at`` of a key is written at its first use, then every ``touched_every``.

    Nothing is remembered between requests, so a key that is revoked here is revoked on every replica.
    """

    engine: AsyncEngine
    hasher: KeyHasher
    touched_every: timedelta

    async def caller_of(self, credential: str) -> Caller | None:
        found = await self.find(credential)
        return None if found is None else found.caller

    async def find(self, credential: str) -> KeyBearer | None:
        if not is_api_key(credential):
            return None
        hashes = self.hasher.candidates(credential)
        async with reading(self.engine) as conn:
            found = await repository.find_by_hash(conn, hashes, self.touched_every)
        if found is None:
            return None
        if found.untouched:
            async with self.engine.begin() as conn:
                await repository.touch(conn, found.id, hashes[0])
        scope = Scope(found.scope)
        collections = None if found.collection_ids is None else frozenset(found.collection_ids)
        caller = Caller(
            user_id=found.owner,
            username=found.username,
            role=effective_role(Role(found.role), scope, some_collections=collections is not None),
            credential=Credential(CredentialKind.API_KEY, found.id, expires=found.expires_at is not None),
            scope=scope,
            collection_ids=collections,
        )
        return KeyBearer(caller, found.expires_at)
