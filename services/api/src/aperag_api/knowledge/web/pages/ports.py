"""What a reader of web pages is to us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Page:
    """``text`` is Markdown."""

    title: str
    text: str


class WebReadPort(Protocol):
    @property
    def name(self) -> str: ...

    async def read(self, url: str, *, locale: str, seconds: float) -> Page:
        """``Retryable`` where it may work another time, ``Terminal`` where it will not."""
        ...
