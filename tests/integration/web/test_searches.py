"""Searches of the web, with sites on this machine in the place of engines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from aperag_api.knowledge.web.schemas import WebSearchIn, WebSearchOut
from aperag_common import errors
from aperag_testing.site import Asked

if TYPE_CHECKING:
    from aperag_api.knowledge.web.assembly import Web
    from aperag_testing.site import Site

JINA = {"jina_api_key": "jina-secret"}


def results(*urls: str) -> str:
    """A page of results in DuckDuckGo's form."""
    rows = [
        f"""<div class="result results_links web-result"><h2 class="result__title">
        <a class="result__a" href="//duckduckgo.com/l/?uddg={quote(url, safe="")}&amp;rut=1">About <b>{n}</b></a></h2>
        <a class="result__snippet" href="x">All that there is to say</a></div>"""
        for n, url in enumerate(urls)
    ]
    return f"<html><body><div id='links'>{''.join(rows)}</div></body></html>"


async def search(web: Web, **asked: Any) -> WebSearchOut:
    answer = await web.searches.search(WebSearchIn(**asked))
    assert [result.rank for result in answer.results] == list(range(1, len(answer.results) + 1))
    assert answer.total_results == len(answer.results)
    return answer


def urls(answer: WebSearchOut) -> list[str]:
    return [result.url for result in answer.results]


async def hang(_: Asked, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def test_a_search_asks_duckduckgo_in_its_own_terms(web: Web, site: Site) -> None:
    site.page("/duckduckgo", results("https://example.org/tea", "https://b.example.net/"))
    answer = await search(web, query=" green tea ", locale="zh-TW", source="example.org,b.example.net")
    assert (answer.query, answer.errors) == ("green tea", {})
    assert [(hit.title, hit.url, hit.snippet, hit.domain) for hit in answer.results] == [
        ("About 0", "https://example.org/tea", "All that there is to say", "example.org"),
        ("About 1", "https://b.example.net/", "All that there is to say", "b.example.net"),
    ]
    (asked,) = site.asked
    form = {name: values[0] for name, values in parse_qs(asked.body).items()}
    assert form == {"q": "green tea (site:example.org OR site:b.example.net)", "kl": "tw-tzh"}


async def test_results_from_elsewhere_are_dropped_and_pages_shown_once(web: Web, site: Site) -> None:
    found = [
        "https://example.org/a?utm_source=x",
        "https://evil.net/",
        "https://example.org/a/",
        "https://example.org/b",
    ]
    site.page("/duckduckgo", results(*found))
    assert urls(await search(web, query="tea", source="example.org")) == [found[0], found[3]]
    assert urls(await search(web, query="tea", max_results=2)) == found[:2]


async def test_nothing_found_is_an_answer(web: Web, site: Site) -> None:
    site.page("/duckduckgo", "<html><body><div class='no-results'>No results.</div></body></html>")
    answer = await search(web, query="tea")
    assert (answer.results, answer.errors) == ([], {})


@pytest.mark.parametrize("asked", [{}, {"query": ""}, {"query": " ", "search_llms_txt": "\t"}, {"source": "a.org"}])
async def test_nothing_to_search_for_is_refused(web: Web, asked: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidParameter, match="nothing to search for"):
        await search(web, **asked)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (500, "", errors.UpstreamUnavailable, "answered 500"),
        (403, "", errors.UpstreamUnavailable, "answered 403"),
        (429, "", errors.RateLimited, "wants fewer searches"),
        (202, "<html><form id='challenge-form'></form></html>", errors.RateLimited, "wants fewer searches"),
        (
            200,
            "<html><div class='anomaly-modal__title'>Robot?</div></html>",
            errors.RateLimited,
            "wants fewer searches",
        ),
        (200, "<html><body>A new design</body></html>", errors.UpstreamUnavailable, "not understood"),
        (200, "", errors.UpstreamUnavailable, "not understood"),
    ],
)
async def test_an_engine_that_does_not_search_is_an_error_worth_another_try(
    web: Web, site: Site, status: int, body: str, kind: type[errors.ApeRAGError], said: str
) -> None:
    site.page("/duckduckgo", body, status=status)
    with pytest.raises(kind, match=said) as raised:
        await search(web, query="tea")
    assert raised.value.error_code == kind.code


async def test_an_engine_that_never_answers_is_left_at_the_deadline(web: Web, site: Site) -> None:
    site.play("/duckduckgo", hang)
    with pytest.raises(errors.UpstreamUnavailable, match="duckduckgo: No .*answer within 1 s"):
        await search(web, query="tea", timeout=1)


def jina(*found: str) -> str:
    rows = ",".join(f'{{"title": "J", "url": "{url}", "description": "d", "date": "2026-01-02"}}' for url in found)
    return f'{{"code": 200, "data": [{rows}]}}'


@pytest.mark.parametrize("settings", [JINA], indirect=True)
async def test_jina_is_asked_first_where_there_is_a_key(web: Web, site: Site) -> None:
    site.page("/jina-search/", jina("https://example.org/j"), "application/json")
    answer = await search(web, query="tea & more", source="example.org")
    assert urls(answer) == ["https://example.org/j"]
    assert str(answer.results[0].timestamp) == "2026-01-02 00:00:00+00:00"
    (asked,) = site.asked
    assert parse_qs(urlsplit(asked.target).query) == {"q": ["tea & more (site:example.org)"]}
    assert asked.headers["authorization"] == "Bearer jina-secret"


@pytest.mark.parametrize("settings", [JINA], indirect=True)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, ""),
        (429, ""),
        (503, ""),
        (200, "no JSON"),
        (200, '{"data": {}}'),
        pytest.param(200, "[" * 100_000, id="deep"),
    ],
)
async def test_where_jina_fails_duckduckgo_is_asked_and_the_failure_named(
    web: Web, site: Site, status: int, body: str
) -> None:
    site.page("/jina-search/", body, "application/json", status=status)
    site.page("/duckduckgo", results("https://example.org/d"))
    answer = await search(web, query="tea")
    assert urls(answer) == ["https://example.org/d"]
    assert set(answer.errors) == {"jina"}
    assert "secret" not in answer.errors["jina"]


@pytest.mark.parametrize("settings", [JINA], indirect=True)
async def test_an_engine_that_hangs_leaves_time_for_the_next(web: Web, site: Site) -> None:
    site.play("/jina-search/", hang)
    site.page("/duckduckgo", results("https://example.org/d"))
    answer = await search(web, query="tea", timeout=20)
    assert urls(answer) == ["https://example.org/d"]
    assert "within 10 s" in answer.errors["jina"]


@pytest.mark.parametrize("settings", [JINA], indirect=True)
async def test_where_jina_finds_nothing_duckduckgo_is_asked(web: Web, site: Site) -> None:
    site.page("/jina-search/", jina(), "application/json")
    site.page("/duckduckgo", results("https://example.org/d"))
    answer = await search(web, query="tea")
    assert (urls(answer), answer.errors) == (["https://example.org/d"], {})


LLMS = "# Tea\n\n> About tea\n\n## Docs\n- [Coffee](/coffee.md): no\n- [Green tea](/green.md): how to brew\n"


async def test_what_a_site_lists_is_searched_beside_the_engines(web: Web, site: Site) -> None:
    site.page("/llms.txt", LLMS, "text/plain")
    site.page("/duckduckgo", results("https://example.org/1", "https://example.org/2"))
    answer = await search(web, query="brew", search_llms_txt=site.url, max_results=3)
    assert answer.query == f"brew + LLM.txt:{site.url}"
    assert urls(answer) == ["https://example.org/1", f"{site.url}/green.md", "https://example.org/2"]


async def test_a_list_alone_needs_no_query(web: Web, site: Site) -> None:
    site.page("/llms.txt", LLMS, "text/plain")
    answer = await search(web, search_llms_txt=site.url)
    assert [(hit.title, hit.snippet) for hit in answer.results] == [("Coffee", "no"), ("Green tea", "how to brew")]
    assert "/duckduckgo" not in site.paths()


async def test_the_full_text_is_offered_where_there_is_no_list(web: Web, site: Site) -> None:
    site.page("/llms.txt", "<!DOCTYPE html><p>Not found</p>")
    full = site.page("/llms-full.txt", "# Tea\n\n> About tea\n\nAll of it.", "text/markdown")
    answer = await search(web, search_llms_txt=site.url)
    assert [(hit.title, hit.url, hit.snippet) for hit in answer.results] == [("Tea", full, "About tea")]


async def test_a_site_without_a_list_is_an_answer_that_says_so(web: Web, site: Site) -> None:
    answer = await search(web, search_llms_txt=site.url)
    assert answer.results == []
    assert answer.errors == {"llms.txt": f"{site.url} has no llms.txt"}


async def test_results_stay_when_only_the_list_fails(web: Web, site: Site) -> None:
    site.page("/llms.txt", "", status=500)
    site.page("/duckduckgo", results("https://example.org/1"))
    answer = await search(web, query="tea", search_llms_txt=site.url)
    assert urls(answer) == ["https://example.org/1"]
    assert "answered 500" in answer.errors["llms.txt"]


async def test_the_list_stays_when_only_the_engine_fails(web: Web, site: Site) -> None:
    site.page("/llms.txt", LLMS, "text/plain")
    site.play("/duckduckgo", hang)
    answer = await search(web, query="tea", search_llms_txt=site.url, timeout=10)
    assert len(answer.results) == 2
    assert set(answer.errors) == {"duckduckgo"}


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("localhost", "BLOCKED_ADDRESS"),
        ("http://10.0.0.1", "BLOCKED_ADDRESS"),
        ("ex ample", "INVALID_URL"),
        ("http://[", "INVALID_URL"),
    ],
)
async def test_a_list_where_nothing_may_be_asked_is_refused(web: Web, place: str, code: str) -> None:
    with pytest.raises(errors.InvalidParameter) as raised:
        await search(web, search_llms_txt=place)
    assert raised.value.error_code == code


async def test_robots_hold_for_lists_too(web: Web, site: Site) -> None:
    site.page("/robots.txt", "User-agent: *\nDisallow: /", "text/plain")
    site.page("/llms.txt", LLMS, "text/plain")
    with pytest.raises(errors.ApeRAGError, match=r"robots\.txt"):
        await search(web, search_llms_txt=site.url)
    assert "/llms.txt" not in site.paths()
