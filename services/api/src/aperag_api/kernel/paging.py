"""Which part of a list is asked for, and the two shapes of the contract that answer it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

T = TypeVar("T")


class SortOrder(StrEnum):
    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True, slots=True)
class Page:
    """``number`` counts from 1."""

    number: int
    size: int

    @property
    def bounds(self) -> dict[str, int]:
        """For ``LIMIT :limit OFFSET :offset``."""
        return {"limit": self.size, "offset": (self.number - 1) * self.size}


def paged(size: int, *, most: int) -> Any:
    """A dependency: the page that ``page`` and ``page_size`` of the query ask for; ``size`` where they do not say."""

    async def asked(page: int = Query(1, ge=1, le=1_000_000), page_size: int = Query(size, ge=1, le=most)) -> Page:
        return Page(page, page_size)

    return Depends(asked)


class PageResult(BaseModel):
    page_number: int | None = None
    page_size: int | None = None
    count: int | None = None


class LegacyList(BaseModel, Generic[T]):
    """Collections and other early lists; the capital in ``pageResult`` is the contract's."""

    items: list[T]
    pageResult: PageResult | None = None  # noqa: N815


class Paged(BaseModel, Generic[T]):
    items: list[T]
    total: int
    page: int
    page_size: int
    total_pages: int
    has_next: bool
    has_prev: bool

    @classmethod
    def of(cls, items: list[T], *, total: int, page: Page) -> Self:
        pages = max(1, -(-total // page.size))
        return cls(
            items=items,
            total=total,
            page=page.number,
            page_size=page.size,
            total_pages=pages,
            has_next=page.number < pages,
            has_prev=page.number > 1,
        )
