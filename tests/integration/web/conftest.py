"""The web as the gateway holds it, and sites on this machine that play the rest of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_api.knowledge.web.assembly import Web, open_web
from aperag_api.knowledge.web.settings import WebSettings
from aperag_common.outbound.settings import OutboundSettings
from aperag_testing.site import open_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_testing.site import Site


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


@pytest.fixture
def settings(site: Site, request: pytest.FixtureRequest) -> WebSettings:
    """Every engine is the same site; ``indirect`` parameters override what is set here."""
    values = {
        "duckduckgo_url": f"{site.url}/duckduckgo",
        "jina_search_url": f"{site.url}/jina-search",
        "jina_reader_url": f"{site.url}/jina-reader",
        "parse_processes": 1,
    }
    return WebSettings.model_validate({**values, **getattr(request, "param", {})})


@pytest_asyncio.fixture
async def web(settings: WebSettings) -> AsyncIterator[Web]:
    web = open_web(settings, OutboundSettings(allow=("127.0.0.1",)))
    yield web
    await web.close()
