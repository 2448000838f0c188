"""SQL of who may read a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.access.conditions import REACHED

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.auth import Caller

# A client may name the trace it continues, so a trace may be entered by whoever knows its id: then it is nobody's.
# What a turn finds may be in any collection, so a key that is limited to some reads none of its traces.
_OWNS = text(
    f"""
    SELECT coalesce(bool_and(own), false) FROM (
        SELECT owner = :owner AND {REACHED.format(collection="collection_id")} AS own
        FROM workflow WHERE split_part(traceparent, '-', 2) = :trace
        UNION ALL
        SELECT owner = :owner AND CAST(:reach AS text[]) IS NULL AS own FROM turn WHERE trace_id = :trace
    ) AS began
    """
)


async def owns(conn: AsyncConnection, trace_id: str, caller: Caller) -> bool:
    """Whether the tasks and turns that began in this trace are all the caller's, within what their key reaches."""
    values = {"owner": caller.user_id, "trace": trace_id, "reach": caller.reach}
    return bool((await conn.execute(_OWNS, values)).scalar_one())
