"""SQL of a rotation; the columns are those of the registry, never a caller's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.auth.encrypted import Encrypted


@dataclass(frozen=True, slots=True)
class Row:
    """``tokens`` by field; the field of a column without any is the empty string."""

    key: str
    tokens: Mapping[str, str]


async def lock_outdated(
    conn: AsyncConnection, place: Encrypted, *, current: str, after: str, limit: int
) -> Sequence[Row]:
    """Rows with a token that does not begin with ``current``, in the order of their keys, held until the commit."""
    tokens = f"{place.column} -> '{place.inside}'" if place.inside else f"jsonb_build_object('', {place.column})"
    query = text(
        f"""
        SELECT {place.key} AS key, {tokens} AS tokens FROM {place.table}
        WHERE {place.where} AND {place.key} > :after AND EXISTS (
            SELECT FROM jsonb_each_text({tokens}) AS held(field, token)
            WHERE NOT starts_with(token, CAST(:current AS text)))
        ORDER BY {place.key} LIMIT :limit FOR NO KEY UPDATE
        """
    )
    rows = await conn.execute(query, {"current": current, "after": after, "limit": limit})
    return [Row(row.key, dict(row.tokens)) for row in rows]


async def replace(conn: AsyncConnection, place: Encrypted, row: Row) -> None:
    """Nothing but the tokens changes; ``updated`` stays, for nobody changed what they mean."""
    if place.inside:
        value, given = f"jsonb_set({place.column}, '{{{place.inside}}}', CAST(:value AS jsonb))", json.dumps(row.tokens)
    else:
        value, given = "CAST(:value AS text)", row.tokens[""]
    query = text(f"UPDATE {place.table} SET {place.column} = {value} WHERE {place.key} = :key")
    await conn.execute(query, {"key": row.key, "value": given})
