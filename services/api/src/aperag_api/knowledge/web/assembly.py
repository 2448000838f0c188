"""The web as the gateway holds it: what settings chose, and what has to be closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.knowledge.web.adapters.duckduckgo import DuckDuckGo
from aperag_api.knowledge.web.adapters.extraction import limit_memory
from aperag_api.knowledge.web.adapters.jina import JinaReader, JinaSearch
from aperag_api.knowledge.web.adapters.trafilatura import TrafilaturaReader
from aperag_api.knowledge.web.pages.robots import Robots
from aperag_api.knowledge.web.pages.service import WebPageService
from aperag_api.knowledge.web.searching.llms_txt import LlmsTxt
from aperag_api.knowledge.web.searching.service import WebSearchService
from aperag_common.outbound.client import OutboundClient
from aperag_common.pool import ProcessPool

if TYPE_CHECKING:
    from aperag_api.knowledge.web.pages.ports import WebReadPort
    from aperag_api.knowledge.web.searching.ports import WebSearchPort
    from aperag_api.knowledge.web.settings import WebSettings
    from aperag_common.outbound.settings import OutboundSettings

IDLE_SECONDS = 60.0
ABANDONED_SECONDS = 1.0
"""A page that is not done in time ends its process, so that the next page finds a free one."""


@dataclass(frozen=True, slots=True)
class Web:
    client: OutboundClient
    pool: ProcessPool
    searches: WebSearchService
    pages: WebPageService

    async def close(self) -> None:
        await self.client.close()
        await self.pool.close()


def open_web(settings: WebSettings, outbound: OutboundSettings) -> Web:
    client = OutboundClient(outbound, user_agent=settings.user_agent)
    pool = ProcessPool(
        settings.parse_processes,
        initializer=limit_memory,
        idle_seconds=IDLE_SECONDS,
        abandoned_seconds=ABANDONED_SECONDS,
    )
    robots = Robots(client, settings.user_agent.partition("/")[0], settings.robots_kept)
    engines: list[WebSearchPort] = [DuckDuckGo(client, pool, settings.duckduckgo_url)]
    readers: list[WebReadPort] = [
        TrafilaturaReader(client, robots, pool, settings.max_page_bytes, settings.parse_timeout.total_seconds())
    ]
    if settings.jina_api_key is not None:
        engines.insert(0, JinaSearch(client, settings.jina_api_key, settings.jina_search_url))
        readers.insert(0, JinaReader(client, robots, settings.jina_api_key, settings.jina_reader_url))
    return Web(
        client,
        pool,
        WebSearchService(engines, LlmsTxt(client, robots)),
        WebPageService(
            readers, max_concurrent=settings.max_concurrent_pages, max_characters=settings.max_page_characters
        ),
    )
