"""Server-sent events of the gateway, read from their lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True)
class Frame:
    """Without data it only moves the position; without an id too it says that the stream is still there."""

    id: str = ""
    event: str = ""
    data: str = ""


async def frames(lines: AsyncIterator[str]) -> AsyncIterator[Frame]:
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(":")
        if line and name in {"id", "event", "data"}:
            fields[name] = value.removeprefix(" ")
        elif not line and fields:
            yield Frame(**fields)
            fields = {}
        elif line and not name:
            yield Frame()
