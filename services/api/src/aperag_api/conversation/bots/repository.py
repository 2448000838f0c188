"""SQL of bots; every statement names the owner."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class BotRow:
    id: str
    title: str
    description: str
    type: str
    config: dict[str, Any]
    config_text: str | None
    flow: dict[str, Any] | None
    created: datetime
    updated: datetime


_COLUMNS = "id, title, description, type, config, config_text, flow, created, updated"
_INSERT = text(
    f"""
    INSERT INTO bot (id, owner, title, description, type, config, config_text, flow)
    VALUES (:id, :owner, :title, :description, :type, CAST(:config AS jsonb), :config_text, CAST(:flow AS jsonb))
    RETURNING {_COLUMNS}
    """
)
_LIST = text(f"SELECT {_COLUMNS} FROM bot WHERE owner = :owner AND deleted_at IS NULL ORDER BY created DESC, id")
_FIND = text(f"SELECT {_COLUMNS} FROM bot WHERE id = :id AND owner = :owner AND deleted_at IS NULL")
_LOCK = text(f"SELECT {_COLUMNS} FROM bot WHERE id = :id AND owner = :owner AND deleted_at IS NULL FOR UPDATE")
_UPDATE = text(
    f"""
    UPDATE bot SET title = :title, description = :description, config = CAST(:config AS jsonb),
        config_text = :config_text, flow = CAST(:flow AS jsonb), updated = clock_timestamp()
    WHERE id = :id RETURNING {_COLUMNS}
    """
)
_DELETE = text("DELETE FROM bot WHERE id = :id AND owner = :owner")


async def insert(conn: AsyncConnection, owner: str, row: dict[str, Any]) -> BotRow:
    values = {**row, "owner": owner, "config": json.dumps(row["config"]), "flow": _json(row["flow"])}
    return BotRow(**(await conn.execute(_INSERT, values)).one()._mapping)


async def of_owner(conn: AsyncConnection, owner: str) -> Sequence[BotRow]:
    return [BotRow(**row._mapping) for row in await conn.execute(_LIST, {"owner": owner})]


async def find(conn: AsyncConnection, owner: str, bot_id: str, *, lock: bool = False) -> BotRow | None:
    row = (await conn.execute(_LOCK if lock else _FIND, {"id": bot_id, "owner": owner})).one_or_none()
    return None if row is None else BotRow(**row._mapping)


async def update(conn: AsyncConnection, row: BotRow) -> BotRow:
    values = {
        "id": row.id,
        "title": row.title,
        "description": row.description,
        "config": json.dumps(row.config),
        "config_text": row.config_text,
        "flow": _json(row.flow),
    }
    return BotRow(**(await conn.execute(_UPDATE, values)).one()._mapping)


async def remove(conn: AsyncConnection, owner: str, bot_id: str) -> None:
    await conn.execute(_DELETE, {"id": bot_id, "owner": owner})


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)
