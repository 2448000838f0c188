"""Pages read over real connections: each with its own outcome, within limits that hold for all."""

from __future__ import annotations

import asyncio
import gzip
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from aperag_api.knowledge.web.assembly import open_web
from aperag_api.knowledge.web.schemas import PageOut, WebReadIn
from aperag_api.knowledge.web.settings import WebSettings
from aperag_common import errors
from aperag_common.outbound.settings import OutboundSettings
from aperag_testing.site import Asked, head, open_site
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from aperag_api.knowledge.web.assembly import Web
    from aperag_testing.site import Site

ARTICLE = "<article><h1>Tea</h1><p>{}</p></article>".format("Green tea takes two minutes, no longer. " * 5)
PAGE = f"<html><head><title>Tea guide</title></head><body>{ARTICLE}</body></html>"


async def read(web: Web, *urls: str, **more: Any) -> list[PageOut]:
    answer = await web.pages.read(WebReadIn(url_list=list(urls), **more))
    assert [page.url for page in answer.results] == list(urls)
    assert answer.total_urls == len(urls)
    assert answer.successful + answer.failed == len(urls)
    assert answer.failed == sum(page.status == "error" for page in answer.results)
    return answer.results


async def code(web: Web, url: str, **more: Any) -> str | None:
    (page,) = await read(web, url, **more)
    assert (page.content is None) == (page.status == "error") == bool(page.error)
    return page.error_code


async def test_a_page_is_read_as_markdown_with_its_lengths(web: Web, site: Site) -> None:
    (page,) = await read(web, site.page("/tea", PAGE), locale="de-DE")
    assert (page.status, page.title, page.error, page.truncated) == ("success", "Tea guide", None, False)
    assert page.content is not None
    assert page.content.startswith("# Tea")
    assert page.word_count == 1 + 7 * 5
    assert page.token_count is not None
    assert page.token_count > page.word_count
    assert page.extracted_at is not None
    asked = site.asked[-1]
    assert (asked.headers["user-agent"], asked.headers["accept-language"]) == ("ApeRAG/0.1", "de-DE, *;q=0.5")
    assert "traceparent" not in asked.headers


async def test_each_page_has_its_own_outcome_in_the_order_asked(web: Web, site: Site) -> None:
    good = site.page("/good", PAGE)
    pages = await read(
        web,
        f"{site.url}/missing",
        good,
        "http://localhost/",
        site.page("/sheet", b"%PDF", "application/pdf"),
        good,
        "no address",
        f"{good}#part",
        site.page("/down", "", status=503),
        "",
    )
    assert [page.error_code for page in pages] == [
        "HTTP_404",
        None,
        "BLOCKED_ADDRESS",
        "UNSUPPORTED_CONTENT_TYPE",
        None,
        "INVALID_URL",
        None,
        "HTTP_503",
        "INVALID_URL",
    ]
    assert site.paths().count("/good") == 1
    assert site.paths().count("/robots.txt") == 1


async def test_nothing_to_read_is_refused(web: Web) -> None:
    with pytest.raises(errors.InvalidParameter, match="url_list"):
        await web.pages.read(WebReadIn(url_list=[]))


async def test_without_permission_no_private_host_is_read(site: Site, settings: WebSettings) -> None:
    web = open_web(settings, OutboundSettings(ports=(site.port,)))
    site.page("/", PAGE)
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"):
        assert await code(web, f"http://{host}:{site.port}/") == "BLOCKED_ADDRESS"
    await web.close()
    assert site.asked == []


@pytest.mark.parametrize("to", ["http://127.0.0.2:{port}/secret", "http://localhost:{port}/secret", "http://10.0.0.1/"])
async def test_a_redirect_to_a_private_host_is_not_followed(web: Web, site: Site, to: str) -> None:
    async with open_site("127.0.0.2", site.port) as inner:
        inner.page("/secret", PAGE)
        assert await code(web, site.redirect("/", to.format(port=site.port))) == "BLOCKED_ADDRESS"
        assert inner.asked == []


@pytest.mark.parametrize("to", ["http://xn--a.org/", "http://127.0.0.1:65536/", "http://[::1"])
async def test_a_redirect_to_what_is_no_address_spoils_no_other_page(web: Web, site: Site, to: str) -> None:
    pages = await read(web, site.redirect("/broken", to), site.page("/good", PAGE), to)
    assert [page.status for page in pages] == ["error", "success", "error"]
    assert {page.error_code for page in pages if page.error_code} <= {"INVALID_URL", "BROKEN_RESPONSE"}


async def test_redirects_are_followed_and_circles_end(web: Web, site: Site) -> None:
    site.page("/new", PAGE)
    assert await code(web, site.redirect("/old", "/new")) is None
    assert await code(web, site.redirect("/circle", "/circle")) == "TOO_MANY_REDIRECTS"


async def hang(_: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, "text/html"))
    while not writer.is_closing():
        writer.write(b"<p>more</p>" * 1_000)
        await writer.drain()


async def cut_short(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, "text/html", length=10_000) + b"<html>")


@pytest.mark.parametrize(
    ("play", "expected"), [(hang, "TIMEOUT"), (endless, "TOO_LARGE"), (cut_short, "BROKEN_RESPONSE")]
)
async def test_a_site_that_does_not_end_well_is_left(web: Web, site: Site, play: Any, expected: str) -> None:
    timeout = 2 if expected == "TIMEOUT" else 30
    assert await code(web, site.play("/", play), timeout=timeout) == expected


async def test_a_bomb_is_too_large(web: Web, site: Site) -> None:
    bomb = gzip.compress(b"<p>" + b"x" * 100_000_000)
    assert await code(web, site.page("/", bomb, content_encoding="gzip")) == "TOO_LARGE"


async def test_a_page_in_a_charset_that_its_server_does_not_know_is_read(web: Web, site: Site) -> None:
    german = PAGE.replace("Green tea", "Grüner Tee")
    (utf8,) = await read(web, site.page("/utf8", german, "text/html; charset=iso-8859-1"))
    (latin,) = await read(web, site.page("/latin", german.encode("latin-1"), "text/html; charset=iso-8859-1"))
    assert "Grüner Tee" in (utf8.content or "")
    assert utf8.content == latin.content


@pytest.mark.parametrize("settings", [{"max_page_characters": 20}], indirect=True)
async def test_a_long_text_is_cut_and_says_so(web: Web, site: Site) -> None:
    (page,) = await read(web, site.page("/", "0123456789" * 10, "text/plain"))
    assert (page.content, page.truncated) == ("0123456789" * 2, True)


@pytest.mark.parametrize("settings", [{"parse_timeout": "PT0.001S"}], indirect=True)
async def test_a_page_that_takes_too_long_to_take_apart_is_left(web: Web, site: Site) -> None:
    assert await code(web, site.page("/", PAGE)) == "PARSE_TIMEOUT"


async def test_robots_are_asked_once_and_obeyed(web: Web, site: Site) -> None:
    site.page("/robots.txt", "User-agent: aperag\nDisallow: /private\nUser-agent: *\nDisallow: /", "text/plain")
    opened = [site.page(f"/{n}", PAGE) for n in range(3)]
    secret = site.page("/private/diary", PAGE)
    site.redirect("/detour", "/private/diary")
    pages = await read(web, *opened, secret, f"{site.url}/detour")
    assert [page.error_code for page in pages] == [None, None, None, "ROBOTS", "ROBOTS"]
    assert site.paths().count("/robots.txt") == 1
    assert "/private/diary" not in site.paths()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_site_without_robots_allows_all(web: Web, site: Site, status: int) -> None:
    site.page("/robots.txt", "User-agent: *\nDisallow: /", "text/plain", status=status)
    assert await code(web, site.page("/", PAGE)) is None


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_while_robots_cannot_be_read_nothing_is(web: Web, site: Site, status: int) -> None:
    site.page("/robots.txt", "", "text/plain", status=status)
    assert await code(web, site.page("/", PAGE)) == "ROBOTS_UNAVAILABLE"
    assert await code(web, f"{site.url}/other") == "ROBOTS_UNAVAILABLE"
    assert site.paths() == ["/robots.txt"]


async def test_robots_without_end_allow_nothing(web: Web, site: Site) -> None:
    site.page("/robots.txt", b"#" * 600_000, "text/plain")
    assert await code(web, site.page("/", PAGE)) == "ROBOTS_UNAVAILABLE"


class Turnstile:
    """Pages that wait until the test lets them through."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most = 0
        self.opened = asyncio.Event()

    async def holds(self, count: int) -> bool:
        return self.waiting == count

    async def play(self, _: Asked, writer: asyncio.StreamWriter) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.opened.wait()
        self.waiting -= 1
        writer.write(head(200, "text/plain") + b"text")


async def test_a_request_reads_no_more_pages_at_a_time_than_it_asked_for(web: Web, site: Site) -> None:
    gate = Turnstile()
    urls = [site.play(f"/{n}", gate.play) for n in range(5)]
    reading = asyncio.ensure_future(read(web, *urls, max_concurrent=2, timeout=60))
    await until(partial(gate.holds, 2))
    gate.opened.set()
    assert [page.content for page in await reading] == ["text"] * 5
    assert gate.most <= 2


@pytest.mark.parametrize("settings", [{"max_concurrent_pages": 3}], indirect=True)
async def test_all_requests_together_stay_within_the_limit_of_the_process(web: Web, site: Site) -> None:
    gate = Turnstile()
    urls = [site.play(f"/{n}", gate.play) for n in range(8)]
    reading = [asyncio.ensure_future(read(web, *part, max_concurrent=20, timeout=60)) for part in (urls[:4], urls[4:])]
    await until(partial(gate.holds, 3))
    gate.opened.set()
    pages = [page for answer in await asyncio.gather(*reading) for page in answer]
    assert [page.status for page in pages] == ["success"] * 8
    assert gate.most <= 3


async def test_what_is_not_read_in_time_says_so_beside_what_is(web: Web, site: Site) -> None:
    await read(web, site.page("/warm", PAGE))  # the first page starts a process
    slow = [site.play(f"/{n}", hang) for n in range(3)]
    pages = await read(web, f"{site.url}/warm", *slow, max_concurrent=2, timeout=10)
    assert [page.error_code for page in pages] == [None, "TIMEOUT", "TIMEOUT", "TIMEOUT"]


JINA = {"jina_api_key": "jina-secret"}


@pytest.mark.parametrize("settings", [JINA], indirect=True)
async def test_jina_reads_first_where_there_is_a_key(web: Web, site: Site) -> None:
    site.page("/jina-reader", '{"code": 200, "data": {"title": "T", "content": "by Jina"}}', "application/json")
    (page,) = await read(web, site.page("/tea", PAGE))
    assert (page.title, page.content) == ("T", "by Jina")
    asked = site.asked[-1]
    assert (asked.path, asked.body) == ("/jina-reader", f'{{"url":"{site.url}/tea"}}')
    assert asked.headers["authorization"] == "Bearer jina-secret"
    assert "/tea" not in site.paths()


@pytest.mark.parametrize("settings", [JINA], indirect=True)
@pytest.mark.parametrize(
    ("status", "body"),
    [(401, ""), (429, ""), (500, ""), (302, ""), (200, "no JSON"), (200, "[]"), (200, '{"data": {"content": " "}}')],
)
async def test_where_jina_fails_the_gateway_reads_itself(web: Web, site: Site, status: int, body: str) -> None:
    site.page("/jina-reader", body, "application/json", status=status, location="/elsewhere")
    assert await code(web, site.page("/tea", PAGE)) is None
    assert site.paths() == ["/robots.txt", "/jina-reader", "/tea"]


@pytest.mark.parametrize("settings", [JINA], indirect=True)
async def test_jina_is_not_told_what_may_not_be_read(web: Web, site: Site) -> None:
    site.page("/robots.txt", "User-agent: *\nDisallow: /private", "text/plain")
    addresses = ["http://localhost/", "http://10.0.0.1/", "http://me@example.org/", "nothing", f"{site.url}/private"]
    pages = await read(web, *addresses)
    expected = ["BLOCKED_ADDRESS", "BLOCKED_ADDRESS", "INVALID_URL", "INVALID_URL", "ROBOTS"]
    assert [page.error_code for page in pages] == expected
    assert site.paths() == ["/robots.txt"]
