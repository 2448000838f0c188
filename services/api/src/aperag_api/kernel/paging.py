"""The two list shapes of the contract."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


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
    def of(cls, items: list[T], *, total: int, page: int, page_size: int) -> Self:
        pages = max(1, -(-total // page_size))
        return cls(
            items=items,
            total=total,
            page=page,
            page_size=page_size,
            total_pages=pages,
            has_next=page < pages,
            has_prev=page > 1,
        )
