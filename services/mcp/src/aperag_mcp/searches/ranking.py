"""From the gateway's answer to what an agent gets; pure."""

from __future__ import annotations

from typing import Any

from aperag_mcp.limits import shorten
from aperag_mcp.searches.schemas import SearchItem, SearchResult


def first(answer: dict[str, Any], topk: int, characters: int) -> SearchResult:
    """The best ``topk`` of all kinds of search together, numbered from 1."""
    found = [SearchItem.model_validate(item) for item in answer["items"]][:topk]
    contents = shorten([item.content for item in found], characters)
    items = [
        item.model_copy(update={"rank": rank, "content": text})
        for rank, (item, text) in enumerate(zip(found, contents.texts, strict=True), start=1)
    ]
    ranks = ", ".join(str(position + 1) for position in contents.cut)
    notes = [f"The passages of rank {ranks} are shortened: read_document gives the whole text."] if ranks else []
    return SearchResult.model_validate({**answer, "items": items, "notes": notes})
