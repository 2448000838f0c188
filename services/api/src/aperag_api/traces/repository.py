"""SQL of who may read a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.access.conditions import REACHED

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.auth import Caller

# A client may name the trace it continues, so a trace may be entered by whoever knows its id: then it is nobody's.
_OWNS = text(
    f"""
    SELECT coalesce(bool_and(owner = :owner AND {REACHED.format(collection="collection_id")}), false)
    FROM workflow WHERE split_part(traceparent, '-', 2) = :trace
    """
)


async def owns(conn: AsyncConnection, trace_id: str, caller: Caller) -> bool:
    """Whether the tasks that began in this trace are all the caller's, in collections that their key reaches."""
    values = {"owner": caller.user_id, "trace": trace_id, "reach": caller.reach}
    return bool((await conn.execute(_OWNS, values)).scalar_one())
