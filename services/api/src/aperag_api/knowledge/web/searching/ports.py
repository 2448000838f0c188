"""What a search engine is to us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class WebQuery:
    """``sites`` restrict the results, if there are any."""

    text: str
    locale: str
    sites: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Found:
    title: str
    url: str
    snippet: str
    timestamp: datetime | None = None


class WebSearchPort(Protocol):
    @property
    def name(self) -> str: ...

    async def search(self, query: WebQuery, *, seconds: float) -> list[Found]:
        """Best first; ``Retryable`` where the engine did not answer, ``Terminal`` where it never will."""
        ...
