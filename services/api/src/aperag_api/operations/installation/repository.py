"""SQL of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class SettingRow:
    """``value`` is JSON, encrypted as a whole where ``encrypted``."""

    name: str
    value: str
    encrypted: bool


_READ = text("SELECT name, value, encrypted FROM setting WHERE name = ANY(:names)")
_WRITE = text(
    """
    INSERT INTO setting (name, value, encrypted) VALUES (:name, :value, :encrypted)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, encrypted = excluded.encrypted, updated = now()
    """
)
_REMOVE = text("DELETE FROM setting WHERE name = :name")


async def read(conn: AsyncConnection, names: Sequence[str]) -> dict[str, SettingRow]:
    rows = await conn.execute(_READ, {"names": list(names)})
    return {row.name: SettingRow(**row._mapping) for row in rows}


async def write(conn: AsyncConnection, row: SettingRow) -> None:
    await conn.execute(_WRITE, {"name": row.name, "value": row.value, "encrypted": row.encrypted})


async def remove(conn: AsyncConnection, name: str) -> None:
    await conn.execute(_REMOVE, {"name": name})
