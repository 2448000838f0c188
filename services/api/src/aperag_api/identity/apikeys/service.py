"""Making and revoking API keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access.service import require_readable
from aperag_api.identity.apikeys import ending, repository
from aperag_api.identity.apikeys.keys import KeyHasher, mask, new_api_key
from aperag_api.identity.apikeys.repository import EndedKey, KeyGrant
from aperag_api.identity.apikeys.schemas import ApiKeyList, ApiKeyView
from aperag_api.identity.events.record import record_key
from aperag_api.kernel.reading import reading
from aperag_common import errors, ids
from aperag_common.events import accounts
from aperag_work.change import Change

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.identity.apikeys.schemas import ApiKeyCreate
    from aperag_work.dispatcher import Dispatcher

WHOLE = KeyGrant()
MOST_KEYS = 100
"""Of one user."""


@dataclass(frozen=True, slots=True)
class ApiKeyService:
    engine: AsyncEngine
    hasher: KeyHasher
    dispatcher: Dispatcher

    async def create(self, owner: str, body: ApiKeyCreate) -> ApiKeyView:
        wanted = None if body.collection_ids is None else sorted(set(body.collection_ids))
        async with self.engine.begin() as conn:
            if wanted is not None:
                # A key that names what its owner cannot read would open it once they can.
                await require_readable(conn, owner, wanted)
            if body.expires_at is not None and not await repository.lies_ahead(conn, body.expires_at):
                raise errors.InvalidParameter("expires_at has passed already: name a time that is still to come")
            if await repository.count(conn, owner) >= MOST_KEYS:
                raise errors.InvalidParameter(f"You have {MOST_KEYS} API keys already: delete one that is not needed")
            grant = KeyGrant(body.scope.value, wanted, body.expires_at)
            made = await issue(conn, self.hasher, owner, body.description, grant)
            told = await record_key(conn, accounts.KeyCreated, owner, made.id)
        self.dispatcher.deliver(Change((), told))
        return made

    async def list(self, owner: str) -> ApiKeyList:
        async with reading(self.engine) as conn:
            rows = await repository.list_own(conn, owner)
        return ApiKeyList(items=rows)

    async def update(self, owner: str, key_id: str, description: str | None) -> ApiKeyView:
        async with self.engine.begin() as conn:
            row = await repository.update(conn, key_id=key_id, owner=owner, description=description)
            if row is None:
                raise errors.ApiKeyNotFound("API key not found")
            told = await record_key(conn, accounts.KeyUpdated, owner, key_id)
        self.dispatcher.deliver(Change((), told))
        return row

    async def delete(self, owner: str, key_id: str) -> bool | None:
        """The contract's answer: true, or null where there was nothing to delete."""
        async with self.engine.begin() as conn:
            if not await repository.delete(conn, key_id=key_id, owner=owner):
                return None
            change = await ending.record(conn, [EndedKey(key_id, owner)], ending.Reason.REVOKED)
        self.dispatcher.deliver(change)
        return True


async def issue(
    conn: AsyncConnection, hasher: KeyHasher, owner: str, description: str | None, grant: KeyGrant = WHOLE
) -> ApiKeyView:
    """A new key, whole: the only moment at which it is known. The caller tells of it."""
    key = new_api_key()
    row = await repository.insert(
        conn,
        key_id=ids.new_api_key_id(),
        owner=owner,
        key_hash=hasher.hash(key),
        key_mask=mask(key),
        description=description,
        grant=grant,
    )
    return row.model_copy(update={"key": key})
