"""The tools of the web, and documents made of pages, on a gateway that plays its part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from fastmcp import Client
from opentelemetry import trace
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from aperag_common.http.server import HttpServer
from aperag_common.metrics import Metrics
from aperag_common.settings import HttpSettings
from aperag_common.telemetry import Telemetry
from aperag_mcp.app import make_server
from aperag_mcp.gateway.client import connect
from aperag_mcp.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

CHARACTERS = 1_000
GOOD = {
    "url": "https://example.org/tea",
    "status": "success",
    "title": "Tea: a page",
    "content": "Green tea.",
    "extracted_at": "2026-11-22T00:00:00Z",
    "word_count": 2,
    "token_count": 3,
    "error": None,
    "error_code": None,
}
BAD = {
    "url": "http://10.0.0.1/",
    "status": "error",
    "error": "The address is private.",
    "error_code": "BLOCKED_ADDRESS",
}
HIT = {"rank": 1, "title": "Tea", "url": "https://example.org/tea", "snippet": "green", "domain": "example.org"}


@dataclass(slots=True)
class Web:
    """What the gateway was asked, and what it answers."""

    pages: list[dict[str, Any]] = field(default_factory=lambda: [GOOD])
    hits: list[dict[str, Any]] = field(default_factory=lambda: [HIT])
    asked: dict[str, Any] = field(default_factory=dict)
    uploaded: str = ""

    async def search(self, request: Request) -> Response:
        self.asked = await request.json()
        answer = {"query": "q", "results": self.hits, "total_results": len(self.hits), "search_time": 0.1}
        return JSONResponse(answer)

    async def read(self, request: Request) -> Response:
        self.asked = await request.json()
        return JSONResponse({"results": self.pages, "total_urls": 1, "successful": 1, "failed": 0, "new_field": 1})

    async def upload(self, request: Request) -> Response:
        file = (await request.form())["files"]
        assert not isinstance(file, str)
        self.uploaded = (await file.read()).decode()
        return JSONResponse({"items": [{"id": "doc1", "name": file.filename, "status": "PENDING"}]})


@pytest.fixture
def web() -> Web:
    return Web()


@pytest_asyncio.fixture
async def client(web: Web) -> AsyncIterator[Client[Any]]:
    routes = [
        Route("/api/v1/web/search", web.search, methods=["POST"]),
        Route("/api/v1/web/read", web.read, methods=["POST"]),
        Route("/api/v1/collections/col1/documents", web.upload, methods=["POST"]),
    ]
    server = HttpServer(HttpSettings(port=0), Starlette(routes=routes))
    await server.start()
    settings = Settings(
        _env_file=None,
        api_url=f"http://127.0.0.1:{server.port}",
        api_key=SecretStr("sk-1"),
        mcp_result_characters=CHARACTERS,
        otel_enabled=False,
    )
    telemetry = Telemetry(trace.NoOpTracerProvider(), None)
    async with (
        connect(settings) as gateway,
        Client(make_server(gateway, settings, telemetry, Metrics("mcp"))) as client,
    ):
        yield client
    await server.stop()


async def test_a_search_asks_only_for_what_was_given(client: Client[Any], web: Web) -> None:
    answer = await client.call_tool("web_search", {"query": "tea", "timeout": 500})
    assert web.asked == {"query": "tea", "max_results": 5, "timeout": 80, "locale": "en-US"}
    assert answer.structured_content["results"][0]["url"] == HIT["url"]
    await client.call_tool("web_search", {"search_llms_txt": "example.org", "source": "a.org,b.org"})
    assert (web.asked["search_llms_txt"], web.asked["source"]) == ("example.org", "a.org,b.org")
    assert "query" not in web.asked


async def test_pages_that_could_not_be_read_stand_beside_those_that_could(client: Client[Any], web: Web) -> None:
    web.pages = [GOOD, BAD]
    answer = await client.call_tool("web_read", {"url_list": [GOOD["url"], BAD["url"]]})
    assert web.asked["max_concurrent"] == 5
    good, bad = answer.structured_content["results"]
    assert (good["status"], good["content"]) == ("success", "Green tea.")
    assert (bad["status"], bad["error_code"], bad["content"]) == ("error", "BLOCKED_ADDRESS", None)
    assert answer.structured_content["new_field"] == 1, "what a newer gateway adds reaches the agent"


async def test_long_pages_are_shortened_and_named(client: Client[Any], web: Web) -> None:
    web.pages = [GOOD, {**GOOD, "url": "https://example.org/long", "content": "x" * 5_000}]
    answer = (await client.call_tool("web_read", {"url_list": ["a", "b"]})).structured_content
    assert sum(len(page["content"]) for page in answer["results"]) <= CHARACTERS
    assert answer["results"][0]["content"] == "Green tea."
    assert answer["notes"][0].endswith("https://example.org/long")


async def test_a_page_becomes_a_document_that_names_its_source(client: Client[Any], web: Web) -> None:
    answer = await client.call_tool("add_document", {"collection_id": "col1", "url": GOOD["url"]})
    assert web.uploaded == "# Tea: a page\n\nSource: https://example.org/tea\n\nGreen tea.\n"
    assert answer.structured_content["document"]["name"] == "Tea a page.md"
    assert "document_status with document_id doc1" in answer.structured_content["notes"][0]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (BAD, "http://10.0.0.1/ cannot be read: The address is private (BLOCKED_ADDRESS). Try another address"),
        ({**GOOD, "content": "  "}, "it holds no text"),
    ],
)
async def test_a_page_that_cannot_be_read_becomes_no_document(
    client: Client[Any], web: Web, page: dict[str, Any], said: str
) -> None:
    web.pages = [page]
    arguments = {"collection_id": "col1", "url": page["url"]}
    answer = await client.call_tool("add_document", arguments, raise_on_error=False)
    assert answer.is_error
    assert said in answer.content[0].text
    assert web.uploaded == ""
