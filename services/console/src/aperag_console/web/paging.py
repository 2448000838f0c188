"""A page of what is at hand as a whole, in the form of the gateway's pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Slice:
    items: list[Any]
    total: int
    page: int
    total_pages: int

    @property
    def has_next(self) -> bool:
        return self.page < self.total_pages

    @property
    def has_prev(self) -> bool:
        return self.page > 1


def slice_of(items: list[Any], page: int, size: int) -> Slice:
    """A page after the last one is the last one."""
    pages = max(1, -(-len(items) // size))
    page = min(page, pages)
    return Slice(items[(page - 1) * size : page * size], len(items), page, pages)
