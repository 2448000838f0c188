"""Keys that end, and the fact that tells everybody who holds on to what they opened."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from aperag_api.identity.apikeys import repository
from aperag_common.events.accounts import KeyRevoked
from aperag_common.events.fact import KeyRevokedData
from aperag_common.services import Service
from aperag_work import outbox
from aperag_work.change import Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.identity.apikeys.repository import EndedKey


class Reason(StrEnum):
    REVOKED = "revoked"
    EXPIRED = "expired"
    USER_DELETED = "user_deleted"


async def record(conn: AsyncConnection, keys: Sequence[EndedKey], reason: Reason) -> Change:
    """`key.revoked` for each, in the transaction that ended them."""
    return Change(events=await outbox.record(conn, *(_fact(key, reason) for key in keys)))


async def of_user(conn: AsyncConnection, owner: str) -> Change:
    """All keys of a user who is deleted in the same transaction."""
    return await record(conn, await repository.end_of_user(conn, owner), Reason.USER_DELETED)


async def expired(engine: AsyncEngine) -> Change:
    """Keys whose time has come since the last look, of any gateway."""
    async with engine.begin() as conn:
        return await record(conn, await repository.end_expired(conn), Reason.EXPIRED)


def _fact(key: EndedKey, reason: Reason) -> KeyRevoked:
    data = KeyRevokedData(key_id=key.id, reason=reason)
    return KeyRevoked.of(data, source=Service.API, subject=key.id, owner=key.owner)
