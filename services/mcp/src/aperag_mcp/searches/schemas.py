"""Searches as agents see them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aperag_mcp.answers import Answer


class SearchItem(Answer):
    """A passage; ``metadata`` names the document it is from."""

    rank: int
    score: float | None = None
    content: str
    source: str | None = None
    recall_type: str | None = None
    metadata: dict[str, Any] = Field({}, description="Among others document_id, and where in the document it stands.")


class SearchResult(Answer):
    query: str
    items: list[SearchItem]
    id: str | None = None
    created: str | None = None
    errors: dict[str, str] = Field({}, description="Kinds of search that did not work, and why; the others did.")
    notes: list[str] = Field([], description="What was left out or shortened.")
