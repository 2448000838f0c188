"""The tools of the web from a client to the sites: over HTTP, through the gateway and over stdio."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from jsonschema import validate

from aperag_testing.site import head, open_site

if TYPE_CHECKING:
    from tests.integration.mcp.conftest import Person

    from aperag_testing.site import Asked, Site
    from aperag_testing.stack import Stack

WAYS = ["service", "gateway", "stdio"]
ARTICLE = "<article><h1>Oolong</h1><p>{}</p></article>".format(
    "Oolong is partly oxidised, between green and black. " * 4
)
PAGE = f"<html><head><title>Oolong tea</title></head><body>{ARTICLE}</body></html>"
HIT = """<div class="result"><a class="result__a" href="https://example.org/{0}">About {0}</a>
<a class="result__snippet">All that there is to say</a></div>"""


def client_of(way: str, stack: Stack, person: Person) -> Client[Any]:
    if way == "service":
        return person.mcp()
    if way == "gateway":
        return person.mcp(f"{stack.url}/mcp/")
    env = {name: os.environ[name] for name in ("PATH", "HOME")}  # noqa: TID251  what a client hands to its servers
    env |= {"APERAG_HOME": str(stack.home), "APERAG_API_KEY": person.key}
    command = str(Path(sys.executable).with_name("aperag"))
    return Client(StdioTransport(command=command, args=["mcp"], env=env, keep_alive=False), timeout=60)


async def call(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer, as the tool's schema describes it."""
    answer = (await client.call_tool(tool, arguments)).structured_content
    assert answer is not None
    schema = next(it for it in await client.list_tools() if it.name == tool).output_schema
    assert schema is not None
    validate(answer, schema)
    item = next(iter(answer.get("results", [])), None)
    unknown = set(answer) - set(schema["properties"])
    assert not unknown, f"the schema of {tool} says nothing of {unknown}"
    if item is not None:
        ((_, described),) = ((name, part) for name, part in schema["$defs"].items() if "url" in part["properties"])
        assert set(item) <= set(described["properties"])
    return answer


async def refusal(client: Client[Any], tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments, raise_on_error=False)
    assert answer.is_error, answer
    return str(answer.content[0].text)


@pytest.mark.parametrize("way", WAYS)
async def test_the_web_is_searched_and_read(stack: Stack, alice: Person, site: Site, way: str) -> None:
    site.page("/duckduckgo", HIT.format("oolong") + HIT.format("pu-erh"))
    # A site of its own: the gateway remembers what robots.txt said.
    async with open_site() as shop, client_of(way, stack, alice) as client:
        shop.page("/robots.txt", "User-agent: *\nDisallow: /private", "text/plain")
        pages = [shop.page("/oolong", PAGE), f"{shop.url}/private", "http://localhost/", f"{shop.url}/missing"]
        found = await call(client, "web_search", query="oolong", max_results=1, source="example.org")
        read = await call(client, "web_read", url_list=pages)
    (hit,) = found["results"]
    assert (hit["rank"], hit["title"], hit["url"]) == (1, "About oolong", "https://example.org/oolong")
    assert "oolong+%28site%3Aexample.org%29" in site.asked[0].body
    assert [page["error_code"] for page in read["results"]] == [None, "ROBOTS", "BLOCKED_ADDRESS", "HTTP_404"]
    assert (read["successful"], read["failed"]) == (1, 3)
    oolong = read["results"][0]
    assert (oolong["title"], oolong["truncated"]) == ("Oolong tea", False)
    assert "partly oxidised" in oolong["content"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_page_becomes_a_searchable_document(stack: Stack, alice: Person, site: Site, way: str) -> None:
    collection = await alice.collection()
    url = site.page("/oolong", PAGE)
    async with client_of(way, stack, alice) as client:
        arguments = {"collection_id": collection, "url": url, "wait": True}
        added = (await client.call_tool("add_document", arguments)).structured_content
        assert added is not None
        found = await client.call_tool("search_collection", {"collection_id": collection, "query": "oxidised oolong"})
        target = {"collection_id": collection, "document_id": added["document"]["id"]}
        text = (await client.call_tool("read_document", target)).structured_content
    assert added["searchable"] is True
    assert found.structured_content is not None
    assert found.structured_content["items"][0]["metadata"]["document_id"] == added["document"]["id"]
    assert text is not None
    assert f"Source: {url}" in text["text"]


async def test_a_page_that_may_not_be_read_becomes_no_document(alice: Person, site: Site) -> None:
    collection = await alice.collection()
    async with alice.mcp() as client:
        for url, code in (("http://169.254.169.254/latest", "BLOCKED_ADDRESS"), (f"{site.url}/missing", "HTTP_404")):
            assert f"({code})" in await refusal(client, "add_document", collection_id=collection, url=url)
        assert (await client.call_tool("list_documents", {"collection_id": collection})).data.items == []


async def test_what_a_site_lists_stands_beside_an_engine_that_failed(alice: Person, site: Site) -> None:
    site.page("/duckduckgo", "", status=500)
    site.page("/llms.txt", "# Tea\n- [Oolong](/oolong): half way\n", "text/plain")
    async with alice.mcp() as client:
        answer = await call(client, "web_search", query="oolong", search_llms_txt=site.url)
    assert [hit["url"] for hit in answer["results"]] == [f"{site.url}/oolong"]
    assert set(answer["errors"]) == {"duckduckgo"}


async def test_a_search_that_no_engine_answers_is_a_failure_worth_another_try(alice: Person, site: Site) -> None:
    site.page("/duckduckgo", "", status=500)
    async with alice.mcp() as client:
        said = await refusal(client, "web_search", query="oolong")
    assert "No search engine answered (duckduckgo: DuckDuckGo answered 500)" in said
    assert "Try again in 1 s." in said


@pytest.mark.parametrize("arguments", [{"locale": "nowhere at all"}, {"source": "no site!"}])
async def test_arguments_that_only_the_gateway_judges_are_explained(alice: Person, arguments: dict[str, str]) -> None:
    async with alice.mcp() as client:
        said = await refusal(client, "web_search", query="tea", **arguments)
    assert next(iter(arguments)) in said
    assert said.endswith("Change the arguments: the same call will be refused again.")


@pytest.mark.parametrize("way", WAYS)
async def test_a_page_that_takes_long_is_told_of_meanwhile(stack: Stack, alice: Person, site: Site, way: str) -> None:
    heard = asyncio.Event()
    told: list[str | None] = []

    async def hear(_progress: float, _total: float | None, message: str | None) -> None:
        told.append(message)
        heard.set()

    async def slow(_: Asked, writer: asyncio.StreamWriter) -> None:
        await heard.wait()
        writer.write(head(200, "text/plain") + b"at last")

    async with client_of(way, stack, alice) as client:
        arguments = {"url_list": [site.play("/slow", slow)], "timeout": 50}
        answer = await client.call_tool("web_read", arguments, progress_handler=hear)
    assert answer.structured_content is not None
    assert answer.structured_content["results"][0]["content"] == "at last"
    assert told[0] == "Reading the web"
