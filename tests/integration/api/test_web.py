"""The web through the gateway: who may use it, and what clients see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from aperag_api.knowledge.web.settings import WebSettings
from aperag_common.outbound.settings import OutboundSettings
from aperag_testing.refusals import PROBLEM, misshapen
from aperag_testing.site import open_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aperag_api.edge.settings import Settings
    from aperag_testing.site import Site

Person = Any

RESULT = """<div class="result"><a class="result__a" href="https://example.org/tea">Green tea</a>
<a class="result__snippet">How to brew</a></div>"""


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


@pytest.fixture
def settings(settings: Settings, site: Site) -> Settings:
    web = WebSettings(duckduckgo_url=f"{site.url}/duckduckgo")
    return settings.model_copy(update={"web": web, "outbound": OutboundSettings(allow=("127.0.0.1",))})


async def test_whoever_may_read_may_search_and_read_the_web(
    make_person: Callable[..., Awaitable[Person]], site: Site
) -> None:
    reader = await make_person("ro")
    site.page("/duckduckgo", RESULT)
    found = (await reader.http.post("/web/search", json={"query": "tea"})).json()
    assert found.pop("search_time") >= 0
    assert found == {
        "query": "tea",
        "results": [
            {
                "rank": 1,
                "title": "Green tea",
                "url": "https://example.org/tea",
                "snippet": "How to brew",
                "domain": "example.org",
                "timestamp": None,
            }
        ],
        "total_results": 1,
        "errors": {},
    }
    url = site.page("/tea", "Green tea", "text/plain")
    pages = (await reader.http.post("/web/read", json={"url_list": [url, "http://localhost/"]})).json()
    assert (pages["total_urls"], pages["successful"], pages["failed"]) == (2, 1, 1)
    good, bad = pages["results"]
    assert (good["status"], good["content"], good["word_count"], good["error_code"]) == (
        "success",
        "Green tea",
        2,
        None,
    )
    assert (bad["status"], bad["content"], bad["error_code"]) == ("error", None, "BLOCKED_ADDRESS")
    del reader.http.headers["authorization"]
    for route in ("search", "read"):
        assert (await reader.http.post(f"/web/{route}", json={"query": "tea", "url_list": [url]})).status_code == 401


async def test_a_search_that_no_engine_answered_is_worth_another_try(alice: Person, site: Site) -> None:
    site.page("/duckduckgo", "", status=500)
    asked = {"query": "tea"}
    answer = await alice.http.post("/web/search", json=asked)
    assert misshapen(answer, 503, "UPSTREAM_UNAVAILABLE") == []
    answer = await alice.http.post("/web/search", json=asked, headers={"accept": PROBLEM})
    assert (answer.json()["retryable"], answer.headers["retry-after"]) == (True, "1")
    assert answer.json()["detail"] == "No search engine answered (duckduckgo: DuckDuckGo answered 500)"
    site.page("/duckduckgo", "", status=429)
    assert misshapen(await alice.http.post("/web/search", json=asked), 503, "RATE_LIMITED") == []
