"""SQL of prompts that somebody has written; those of the installation belong to nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_READ = text("SELECT type, content FROM prompt_template WHERE user_id IS NOT DISTINCT FROM CAST(:user AS text)")
_WRITE = text(
    """
    INSERT INTO prompt_template (id, user_id, type, content) VALUES (:id, :user, :type, :content)
    ON CONFLICT (user_id, type) DO UPDATE SET content = excluded.content, updated = now()
    """
)
_REMOVE = text(
    """
    DELETE FROM prompt_template
    WHERE user_id IS NOT DISTINCT FROM CAST(:user AS text) AND type = ANY(:types) RETURNING type
    """
)


async def read(conn: AsyncConnection, user_id: str | None) -> dict[str, str]:
    """By type."""
    return {row.type: row.content for row in await conn.execute(_READ, {"user": user_id})}


async def write(conn: AsyncConnection, prompt_id: str, user_id: str | None, type_: str, content: str) -> None:
    await conn.execute(_WRITE, {"id": prompt_id, "user": user_id, "type": type_, "content": content})


async def remove(conn: AsyncConnection, user_id: str | None, types: Sequence[str]) -> list[str]:
    """The types of those that were there."""
    found = await conn.execute(_REMOVE, {"user": user_id, "types": list(types)})
    return sorted(found.scalars())
