"""API keys as credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.identity.apikeys import repository
from aperag_api.identity.apikeys.keys import KeyHasher, is_api_key
from aperag_api.kernel.auth import Caller, Credential, CredentialKind, Role, Scope, effective_role
from aperag_api.kernel.memory import Fresh, Memory
from aperag_api.kernel.reading import reading

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class KeyBearer:
    """Who showed a key, and until when it holds; ``seconds_left`` by the database's clock."""

    caller: Caller
    expires_at: datetime | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class ApiKeyCredentials:
    """``last_used_at`` of a key is written at its first use, then every ``touched_every``."""

    engine: AsyncEngine
    hasher: KeyHasher
    touched_every: timedelta
    memory: Memory[Caller]

    async def caller_of(self, credential: str) -> Caller | None:
        """Remembered for some seconds, under the key's hash, and never beyond the end of the key."""
        if not is_api_key(credential):
            return None

        async def look() -> Fresh[Caller] | None:
            found = await self.find(credential)
            return None if found is None else Fresh(found.caller, found.caller.user_id, found.seconds_left)

        return await self.memory.find(self.hasher.hash(credential), look)

    async def find(self, credential: str) -> KeyBearer | None:
        """Looked up now."""
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
        return KeyBearer(caller, found.expires_at, found.seconds_left)
