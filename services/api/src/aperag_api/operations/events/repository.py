"""SQL of the event stream's lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class KnownEpoch:
    epoch: int
    stream_created: datetime


_EPOCH = text("SELECT epoch, stream_created FROM stream_epoch WHERE stream = :stream")


async def stream_epoch(conn: AsyncConnection, stream: str) -> KnownEpoch | None:
    row = (await conn.execute(_EPOCH, {"stream": stream})).one_or_none()
    return None if row is None else KnownEpoch(**row._mapping)
