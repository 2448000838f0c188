"""The tools of collections."""

from __future__ import annotations

from dataclasses import dataclass

from fastmcp import FastMCP
from mcp_types import ToolAnnotations

from aperag_mcp.collections.schemas import Collection, CollectionList, PageResult
from aperag_mcp.gateway.client import Gateway
from aperag_mcp.limits import shorten

PAGE = 1000
"""As many as the gateway gives at a time."""
READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


@dataclass(frozen=True, slots=True)
class CollectionTools:
    gateway: Gateway
    characters: int

    async def list_collections(self) -> CollectionList:
        """List the knowledge collections that you may search, each with its id, title and description.

        Call this first: the other tools ask for a collection's `id`, never for its title. The newest change is first.
        """
        items: list[Collection] = []
        count: int | None = None
        while True:
            page = {"page": len(items) // PAGE + 1, "page_size": PAGE}
            answer = await self.gateway.get("collections", params=page)
            items += [Collection.model_validate(item) for item in answer["items"]]
            count = (answer.get("pageResult") or {}).get("count", count)
            if len(answer["items"]) < PAGE:
                break
        described = shorten([item.description or "" for item in items], self.characters)
        shown = [
            item.model_copy(update={"description": text}) for item, text in zip(items, described.texts, strict=True)
        ]
        notes = [f"{len(described.cut)} long descriptions are shortened."] if described.cut else []
        page_result = PageResult(page_number=1, page_size=len(items), count=len(items) if count is None else count)
        return CollectionList(items=shown, pageResult=page_result, notes=notes)


def register(mcp: FastMCP, gateway: Gateway, *, characters: int) -> None:
    tools = CollectionTools(gateway, characters)
    mcp.tool(tools.list_collections, title="List collections", annotations=READS)
