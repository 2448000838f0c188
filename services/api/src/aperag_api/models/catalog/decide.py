"""Which tags models bear, and which a filter lets through; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.models.catalog.schemas import TagFilter
from aperag_models.refs import Scenario

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from aperag_api.models.catalog.schemas import DefaultModelOut, ModelOut

RECOMMENDED = TagFilter(operation="OR", tags=["recommend"])
_OF_DEFAULTS = frozenset(it.value for it in Scenario)


def tagged(rows: Iterable[ModelOut], defaults: Sequence[DefaultModelOut]) -> list[ModelOut]:
    """Each with what it is the default for among its tags: clients find the defaults by these."""
    return [row.model_copy(update={"tags": [*row.tags, *_scenarios(row, defaults)]}) for row in rows]


def own_tags(tags: Iterable[str]) -> list[str]:
    """Without those of defaults, which clients send back: only ``PUT /default_models`` sets them."""
    return [tag for tag in tags if tag not in _OF_DEFAULTS]


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


def _scenarios(row: ModelOut, defaults: Sequence[DefaultModelOut]) -> list[str]:
    return [
        it.scenario.value
        for it in defaults
        if (it.provider_name, it.model, it.scenario.api) == (row.provider_name, row.model, row.api)
    ]
