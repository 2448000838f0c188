"""Which local models a process should load before anyone waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.session import autocommit
from aperag_retrieval.local import MODELS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_USED = text(
    """
    SELECT DISTINCT m.model FROM collection c, unnest(ARRAY[c.active_model, c.wanted_model]) AS m(model)
    WHERE c.status = 'ACTIVE' AND m.model = ANY(:local) AND EXISTS (SELECT FROM document d WHERE d.collection_id = c.id)
    """
)


async def local_models_used(engine: AsyncEngine, default: str) -> list[str]:
    """Those of collections that hold documents; the default one where no collection does."""
    async with autocommit(engine) as conn:
        found = (await conn.execute(_USED, {"local": list(MODELS)})).scalars().all()
    return sorted(found) or [default]
