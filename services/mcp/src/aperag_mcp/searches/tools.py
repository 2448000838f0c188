"""The tools of searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastmcp import Context, FastMCP
from mcp_types import ToolAnnotations
from pydantic import Field

from aperag_mcp.errors import Refused
from aperag_mcp.gateway.client import Gateway, id_of
from aperag_mcp.progress import ticking
from aperag_mcp.searches.ranking import first
from aperag_mcp.searches.schemas import SearchResult

SECONDS = 120.0
SIMILARITY = 0.2
MAX_TOPK = 1000
READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

Query = Annotated[str, Field(min_length=1, max_length=10_000, description="What to find, in natural language.")]
TopK = Annotated[int, Field(ge=1, le=MAX_TOPK, description="Most passages to return, over all kinds of search.")]
Rerank = Annotated[bool, Field(description="Let a model order what was found, where there is one for that.")]
Keywords = Annotated[
    list[str] | None, Field(max_length=100, description="Words for the full-text search; default: those of the query.")
]


@dataclass(frozen=True, slots=True)
class SearchTools:
    gateway: Gateway
    characters: int

    async def search_collection(
        self,
        ctx: Context,
        collection_id: Annotated[str, Field(description="Id of the collection, from list_collections.")],
        query: Query,
        use_vector_index: Annotated[bool, Field(description="Search by meaning.")] = True,  # noqa: FBT002  the contract's
        use_fulltext_index: Annotated[bool, Field(description="Search by words.")] = True,  # noqa: FBT002  parameters
        use_graph_index: Annotated[bool, Field(description="Search the knowledge graph.")] = True,  # noqa: FBT002
        use_summary_index: Annotated[bool, Field(description="Search summaries of documents.")] = True,  # noqa: FBT002
        use_vision_index: Annotated[bool, Field(description="Search pictures.")] = True,  # noqa: FBT002
        rerank: Rerank = True,  # noqa: FBT002
        topk: TopK = 5,
        query_keywords: Keywords = None,
    ) -> SearchResult:
        """Search one knowledge collection and return the passages that fit best, with the documents they are from.

        All kinds of search that are switched on run side by side; their hits are merged, the best `topk` remain and are
        ranked from 1. Kinds that are not available here are named under `errors`, the others count all the same.
        `metadata.document_id` of a passage is what read_document asks for.
        """
        if not (use_vector_index or use_fulltext_index or use_graph_index or use_summary_index):
            message = (
                "Nothing to search with: vector, fulltext, graph and summary are all switched off."
                " Leave at least one of them on; use_vision_index alone is not enough."
            )
            raise Refused(message)
        kinds = {
            "vector_search": {"topk": topk, "similarity": SIMILARITY} if use_vector_index else None,
            "fulltext_search": {"topk": topk, "keywords": query_keywords} if use_fulltext_index else None,
            "graph_search": {"topk": topk} if use_graph_index else None,
            "summary_search": {"topk": topk, "similarity": SIMILARITY} if use_summary_index else None,
            "vision_search": {"topk": topk, "similarity": SIMILARITY} if use_vision_index else None,
        }
        path = ("collections", id_of("collection", collection_id), "searches")
        return await self._search(ctx, path, query, kinds, rerank=rerank, topk=topk)

    async def search_chat_files(
        self,
        ctx: Context,
        chat_id: Annotated[str, Field(description="Id of the chat whose files are searched.")],
        query: Query,
        use_vector_index: Annotated[bool, Field(description="Search by meaning.")] = True,  # noqa: FBT002  the contract's
        use_fulltext_index: Annotated[bool, Field(description="Search by words.")] = True,  # noqa: FBT002  parameters
        rerank: Rerank = True,  # noqa: FBT002
        topk: TopK = 5,
    ) -> SearchResult:
        """Search the files that were uploaded into one chat."""
        if not (use_vector_index or use_fulltext_index):
            message = (
                "Nothing to search with: vector and fulltext are both switched off. Leave at least one of them on."
            )
            raise Refused(message)
        kinds = {
            "vector_search": {"topk": topk, "similarity": SIMILARITY} if use_vector_index else None,
            "fulltext_search": {"topk": topk} if use_fulltext_index else None,
        }
        path = ("chats", id_of("chat", chat_id), "search")
        return await self._search(ctx, path, query, kinds, rerank=rerank, topk=topk)

    async def _search(
        self, ctx: Context, path: tuple[str, ...], query: str, kinds: dict[str, Any], *, rerank: bool, topk: int
    ) -> SearchResult:
        """An agent's searches stay out of its user's history."""
        asked = {name: kind for name, kind in kinds.items() if kind is not None}
        body = {"query": query, **asked, "rerank": rerank, "save_to_history": False}
        async with ticking(ctx, "Searching", seconds=SECONDS):
            answer = await self.gateway.post(*path, body=body, seconds=SECONDS)
        return first(answer, topk, self.characters)


def register(mcp: FastMCP, gateway: Gateway, *, characters: int) -> None:
    tools = SearchTools(gateway, characters)
    mcp.tool(tools.search_collection, title="Search a collection", annotations=READS)
    mcp.tool(tools.search_chat_files, title="Search the files of a chat", annotations=READS)
