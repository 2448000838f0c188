"""SQL of advisories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects.postgresql import insert

from aperag_common.db.models import DeadLetter

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


async def keep(conn: AsyncConnection, letter: dict[str, Any]) -> bool:
    """False where an earlier delivery of the same advisory has kept it."""
    kept = insert(DeadLetter).values(letter).on_conflict_do_nothing(index_elements=[DeadLetter.id])
    return (await conn.execute(kept.returning(DeadLetter.id))).scalar() is not None
