"""SQL of who may read a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# A client may name the trace it continues, so a trace may be entered by whoever knows its id: then it is nobody's.
_OWNS = text(
    """
    SELECT coalesce(bool_and(owner = :owner), false) FROM workflow WHERE split_part(traceparent, '-', 2) = :trace
    """
)


async def owns(conn: AsyncConnection, trace_id: str, owner: str) -> bool:
    """Whether one of the owner's own tasks began in this trace."""
    return bool((await conn.execute(_OWNS, {"owner": owner, "trace": trace_id})).scalar_one())
