"""The tools of the web."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastmcp import Context, FastMCP
from mcp_types import ToolAnnotations
from pydantic import Field

from aperag_mcp.errors import Refused
from aperag_mcp.gateway.client import Gateway
from aperag_mcp.limits import shorten
from aperag_mcp.progress import ticking
from aperag_mcp.web.schemas import WebReadResponse, WebSearchResponse

SEARCH_SECONDS = 90.0
READ_SECONDS = 60.0
MOST_SEARCH_SECONDS, MOST_READ_SECONDS = 80, 50
"""What a caller may ask for: the gateway's answer must still arrive in time."""
MAX_URLS = 20
READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=False, open_world_hint=True)

Locale = Annotated[str, Field(max_length=35, description="Language and country, as in en-US.")]


@dataclass(frozen=True, slots=True)
class WebTools:
    gateway: Gateway
    characters: int

    async def web_search(
        self,
        ctx: Context,
        query: Annotated[str, Field(max_length=2_000, description="What to look for.")] = "",
        max_results: Annotated[int, Field(ge=1, le=100, description="Most results to return.")] = 5,
        timeout: Annotated[int, Field(ge=1, description=f"Seconds to search, {MOST_SEARCH_SECONDS} at most.")] = 30,  # noqa: ASYNC109
        locale: Locale = "en-US",
        source: Annotated[str, Field(description="Only results of these sites, separated by commas.")] = "",
        search_llms_txt: Annotated[str, Field(description="A domain whose llms.txt is looked up as well.")] = "",
    ) -> WebSearchResponse:
        """Search the web; give a `query`, a domain in `search_llms_txt`, or both.

        The results are titles and snippets: read the pages themselves with web_read.
        """
        if not (query.strip() or search_llms_txt.strip()):
            raise Refused("Nothing to search for: give a query, or a domain in search_llms_txt.")
        optional = {"query": query, "source": source, "search_llms_txt": search_llms_txt}
        body = {
            "max_results": max_results,
            "timeout": min(timeout, MOST_SEARCH_SECONDS),
            "locale": locale,
            **{name: value for name, value in optional.items() if value.strip()},
        }
        async with ticking(ctx, "Searching the web", seconds=SEARCH_SECONDS):
            answer = await self.gateway.post("web", "search", body=body, seconds=SEARCH_SECONDS)
        found = WebSearchResponse.model_validate(answer)
        snippets = shorten([hit.snippet or "" for hit in found.results], self.characters)
        results = [
            hit.model_copy(update={"snippet": text}) for hit, text in zip(found.results, snippets.texts, strict=True)
        ]
        notes = [f"{len(snippets.cut)} long snippets are shortened."] if snippets.cut else []
        return found.model_copy(update={"results": results, "notes": notes})

    async def web_read(
        self,
        ctx: Context,
        url_list: Annotated[list[str], Field(min_length=1, max_length=MAX_URLS, description="Addresses to read.")],
        timeout: Annotated[int, Field(ge=1, description=f"Seconds for all pages, {MOST_READ_SECONDS} at most.")] = 30,  # noqa: ASYNC109
        locale: Locale = "en-US",
        max_concurrent: Annotated[int, Field(ge=1, le=MAX_URLS, description="Pages read at a time.")] = 5,
    ) -> WebReadResponse:
        """Read web pages as Markdown: their main text, without menus.

        A page that cannot be read has `status` error with the reason, beside those that could. Only public addresses
        are read, and only what robots.txt allows.
        """
        body = {
            "url_list": url_list,
            "timeout": min(timeout, MOST_READ_SECONDS),
            "locale": locale,
            "max_concurrent": max_concurrent,
        }
        async with ticking(ctx, "Reading the web", seconds=READ_SECONDS):
            answer = await self.gateway.post("web", "read", body=body, seconds=READ_SECONDS)
        found = WebReadResponse.model_validate(answer)
        texts = shorten([page.content or "" for page in found.results], self.characters)
        pages = [
            page if page.content is None else page.model_copy(update={"content": text})
            for page, text in zip(found.results, texts.texts, strict=True)
        ]
        cut = [found.results[at].url for at in texts.cut]
        notes = [f"Shortened, read fewer pages at a time for more of each: {', '.join(cut)}"] if cut else []
        return found.model_copy(update={"results": pages, "notes": notes})


def register(mcp: FastMCP, gateway: Gateway, *, characters: int) -> None:
    tools = WebTools(gateway, characters)
    mcp.tool(tools.web_search, title="Search the web", annotations=READS)
    mcp.tool(tools.web_read, title="Read web pages", annotations=READS)
