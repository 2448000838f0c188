"""Answers of hosts that cannot be trusted: too large, endless, packed, broken, redirecting, remembering."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from aperag_common.errors import ApeRAGError, Terminal
from aperag_common.outbound.client import Call, Head, OutboundClient
from aperag_common.outbound.failures import (
    BlockedAddress,
    BrokenResponse,
    InvalidUrl,
    TimedOut,
    TooLarge,
    TooManyRedirects,
    Unreachable,
)
from aperag_common.outbound.settings import OutboundSettings
from aperag_common.outbound.unpacking import Body
from aperag_testing.site import Asked, head, open_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_testing.site import Site

LIMIT = 100_000


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


@pytest_asyncio.fixture
async def client() -> AsyncIterator[OutboundClient]:
    client = OutboundClient(OutboundSettings(allow=("127.0.0.1",)), user_agent="ApeRAG/tests")
    yield client
    await client.close()


async def fetched(client: OutboundClient, url: str, *, seconds: float = 30, **more: Any) -> bytes:
    return (await client.fetch(Call(url, **more), seconds=seconds, max_bytes=LIMIT)).content


async def failure(client: OutboundClient, url: str, **more: Any) -> type[ApeRAGError]:
    with pytest.raises(ApeRAGError) as raised:
        await fetched(client, url, **more)
    return type(raised.value)


async def test_a_body_that_says_it_is_too_large_is_not_read(client: OutboundClient, site: Site) -> None:
    async def announce(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, "text/plain", length=LIMIT + 1))
        await asyncio.Event().wait()

    assert await failure(client, site.play("/", announce)) is TooLarge
    assert len(await fetched(client, site.page("/fits", b"x" * LIMIT))) == LIMIT


async def test_a_body_without_end_is_left(client: OutboundClient, site: Site) -> None:
    async def stream(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, "text/plain"))
        while not writer.is_closing():
            writer.write(b"x" * 10_000)
            await writer.drain()

    assert await failure(client, site.play("/", stream)) is TooLarge


async def test_a_body_that_drips_is_left_at_the_deadline(client: OutboundClient, site: Site) -> None:
    async def drip(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, "text/plain"))
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert await failure(client, site.play("/", drip), seconds=0.5) is TimedOut


async def test_a_host_that_never_answers_is_left_at_the_deadline(client: OutboundClient, site: Site) -> None:
    async def silent(_: Asked, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    assert await failure(client, site.play("/", silent), seconds=0.3) is TimedOut


def bomb(size: int) -> bytes:
    return gzip.compress(b"\0" * size)


async def test_a_packed_body_is_unpacked_to_the_limit_and_no_further(client: OutboundClient, site: Site) -> None:
    assert len(bomb(50_000_000)) < LIMIT
    url = site.page("/bomb", bomb(50_000_000), content_encoding="gzip")
    assert await failure(client, url) is TooLarge
    assert await fetched(client, site.page("/fits", bomb(LIMIT), content_encoding="gzip")) == b"\0" * LIMIT


async def test_a_bomb_costs_no_more_memory_than_the_limit() -> None:
    body = Body("gzip", LIMIT)
    with pytest.raises(TooLarge):
        body.add(bomb(50_000_000))
    assert body._size <= LIMIT + 1


TEXT = b"Green tea takes two minutes. " * 100
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
PACKED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "GZIP": gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]),
    "deflate": zlib.compress(TEXT),
    " deflate ": RAW.compress(TEXT) + RAW.flush(),
    "identity": TEXT,
    "": TEXT,
}


# Of the two kinds of deflate the first byte alone does not tell which it is.
PIECES = [
    (encoding, piece) for encoding in PACKED for piece in (1, 7, 100_000) if (encoding, piece) != (" deflate ", 1)
]


@pytest.mark.parametrize(("encoding", "piece"), PIECES)
def test_every_packing_that_is_asked_for_is_understood(encoding: str, piece: int) -> None:
    packed = PACKED[encoding]
    body = Body(encoding, LIMIT)
    for at in range(0, len(packed), piece):
        body.add(packed[at : at + piece])
    assert body.whole() == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "x" * 200])
async def test_a_packing_that_was_not_asked_for_is_refused(client: OutboundClient, site: Site, encoding: str) -> None:
    assert await failure(client, site.page("/", b"x", content_encoding=encoding)) is BrokenResponse
    assert site.asked[0].headers["accept-encoding"] == "gzip, deflate"


async def cut_short(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, "text/plain", length=100) + b"half")


async def no_http(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def endless_headers(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X-More: " + b"x" * 10_000 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize("play", [cut_short, no_http, endless_headers])
async def test_what_is_no_complete_http_is_broken(client: OutboundClient, site: Site, play: Any) -> None:
    assert await failure(client, site.play("/", play)) is BrokenResponse


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(TEXT)[:50], gzip.compress(TEXT) + b"trailing"],
    ids=["other", "cut short", "trailing"],
)
async def test_a_packed_body_that_is_damaged_is_broken(client: OutboundClient, site: Site, content: bytes) -> None:
    assert await failure(client, site.page("/", content, content_encoding="gzip")) is BrokenResponse


async def test_where_nobody_listens_is_unreachable(client: OutboundClient) -> None:
    async with open_site() as gone:
        url = gone.url
    assert await failure(client, url) is Unreachable


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("http://127.0.0.2/", BlockedAddress),
        ("http://localhost/", BlockedAddress),
        ("http://169.254.169.254/latest/meta-data/", BlockedAddress),
        ("//10.0.0.1/", BlockedAddress),
        ("http://[::ffff:127.0.0.2]/", BlockedAddress),
        ("http://2130706433/", InvalidUrl),
        ("http://me@127.0.0.1/", InvalidUrl),
        ("file:///etc/passwd", InvalidUrl),
        ("ftp://example.org/", InvalidUrl),
        ("http://xn--a.org/", InvalidUrl),
        ("http://127.0.0.1:65536/", InvalidUrl),
    ],
)
async def test_a_redirect_is_checked_like_the_first_address(
    client: OutboundClient, site: Site, to: str, expected: type[ApeRAGError]
) -> None:
    assert await failure(client, site.redirect("/", to)) is expected
    assert len(site.asked) == 1


async def test_redirects_are_followed_so_many_times(client: OutboundClient, site: Site) -> None:
    for at in range(6):
        site.redirect(f"/{at}", f"/{at + 1}", status=(301, 302, 303, 307, 308, 302)[at])
    site.page("/6", "arrived")
    assert await fetched(client, f"{site.url}/1") == b"arrived"
    assert await failure(client, f"{site.url}/0") is TooManyRedirects
    assert await failure(client, f"{site.url}/1", redirects=0) is TooManyRedirects


async def test_a_redirect_that_goes_in_a_circle_ends(client: OutboundClient, site: Site) -> None:
    assert await failure(client, site.redirect("/", "/")) is TooManyRedirects
    assert len(site.asked) == 6


async def test_a_key_does_not_follow_a_redirect_to_another_host(client: OutboundClient, site: Site) -> None:
    async with open_site() as other:
        site.redirect("/", other.page("/there", "hello"))
        await fetched(client, f"{site.url}/", headers={"authorization": "Bearer secret"})
        assert site.asked[0].headers["authorization"] == "Bearer secret"
        assert "authorization" not in other.asked[0].headers


async def test_what_a_site_wants_remembered_is_not(client: OutboundClient, site: Site) -> None:
    site.redirect("/", "/next")
    site.page("/next", "hello", set_cookie="user=alice; Path=/")
    for _ in range(2):
        await fetched(client, f"{site.url}/")
    assert ["cookie" in asked.headers for asked in site.asked] == [False] * 4


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    async with open_site() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        client = OutboundClient(OutboundSettings(allow=("127.0.0.1",)), user_agent="tests")
        assert await fetched(client, site.page("/", "hello")) == b"hello"
        await client.close()
        assert proxy.asked == []


async def test_who_asks_is_told_each_address_and_the_head_before_the_body(client: OutboundClient, site: Site) -> None:
    told: list[str] = []

    async def before(url: str) -> None:
        told.append(url)

    def refuse(answer: Head) -> None:
        told.append(f"{answer.status} {answer.media_type} {answer.url}")
        message = "not this"
        raise Terminal(message)

    site.redirect("/", "/next")
    site.page("/next", "hello", "Text/HTML ; charset=x", status=418)
    with pytest.raises(Terminal, match="not this"):
        await client.fetch(Call(f"{site.url}/"), seconds=30, max_bytes=10, before=before, expect=refuse)
    assert told == [f"{site.url}/", f"{site.url}/next", f"418 text/html {site.url}/next"]
