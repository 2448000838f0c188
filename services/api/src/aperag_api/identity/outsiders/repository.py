"""SQL of what outsiders are let in by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncConnection

_SUBSCRIPTIONS = text(
    """
    SELECT id FROM event_subscription WHERE owner = :owner AND (NOT all_owners OR :all_owners) ORDER BY created, id
    """
)
_VALID = text(
    """
    SELECT k.id FROM api_key k JOIN users u ON u.id = k.owner
    WHERE k.id = ANY(:ids) AND k.deleted_at IS NULL AND u.is_active
        AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
    """
)


async def subscriptions(conn: AsyncConnection, owner: str, *, all_owners: bool) -> list[str]:
    """``all_owners``: also those that tell of everybody."""
    return list((await conn.execute(_SUBSCRIPTIONS, {"owner": owner, "all_owners": all_owners})).scalars())


async def valid(conn: AsyncConnection, key_ids: Collection[str]) -> set[str]:
    """Those that still open anything."""
    return set((await conn.execute(_VALID, {"ids": list(key_ids)})).scalars())
