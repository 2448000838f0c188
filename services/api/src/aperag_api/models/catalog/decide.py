"""Which models a filter lets through; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.models.catalog.schemas import TagFilter

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

RECOMMENDED = TagFilter(operation="OR", tags=["recommend"])


def fits(tags: Collection[str], filters: Sequence[TagFilter] | None) -> bool:
    if filters is None:
        return _fits(tags, RECOMMENDED)
    return not filters or any(_fits(tags, it) for it in filters)


def _fits(tags: Collection[str], wanted: TagFilter) -> bool:
    if not wanted.tags:
        return False
    match wanted.operation:
        case "AND":
            return all(tag in tags for tag in wanted.tags)
        case "OR":
            return any(tag in tags for tag in wanted.tags)
