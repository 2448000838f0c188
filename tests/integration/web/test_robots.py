"""What a site allows is asked once, remembered for a while, and within bounds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from aperag_api.knowledge.web.pages import robots
from aperag_api.knowledge.web.pages.robots import Robots, RobotsDisallowed
from aperag_testing.site import Asked, head

if TYPE_CHECKING:
    from aperag_api.knowledge.web.assembly import Web
    from aperag_testing.site import Site

CLOSED = "User-agent: *\nDisallow: /"


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_site_is_asked_again_after_a_while(web: Web, site: Site) -> None:
    clock = Clock()
    rules = Robots(web.client, "ApeRAG", timedelta(hours=1), clock)
    await rules.require(f"{site.url}/a")
    site.page("/robots.txt", CLOSED, "text/plain")
    clock.now += 3_599
    await rules.require(f"{site.url}/a")
    clock.now += 2
    with pytest.raises(RobotsDisallowed):
        await rules.require(f"{site.url}/a")
    assert site.paths() == ["/robots.txt"] * 2


async def test_a_site_that_could_not_say_is_asked_again_soon(web: Web, site: Site) -> None:
    clock = Clock()
    rules = Robots(web.client, "ApeRAG", timedelta(hours=1), clock)
    site.page("/robots.txt", "", status=500)
    with pytest.raises(robots.errors.UpstreamUnavailable):
        await rules.require(f"{site.url}/a")
    site.page("/robots.txt", "", status=404)
    clock.now += robots.UNAVAILABLE_SECONDS + 1
    await rules.require(f"{site.url}/a")


async def test_pages_read_together_ask_once(web: Web, site: Site) -> None:
    opened = asyncio.Event()

    async def slow(_: Asked, writer: asyncio.StreamWriter) -> None:
        await opened.wait()
        writer.write(head(404, "text/plain", length=0))

    site.play("/robots.txt", slow)
    rules = Robots(web.client, "ApeRAG", timedelta(hours=1))
    asking = [asyncio.ensure_future(rules.require(f"{site.url}/{n}")) for n in range(5)]
    await asyncio.sleep(0)
    opened.set()
    await asyncio.gather(*asking)
    assert site.paths() == ["/robots.txt"]


async def test_who_gives_up_waiting_does_not_take_the_others_along(web: Web, site: Site) -> None:
    opened = asyncio.Event()

    async def slow(_: Asked, writer: asyncio.StreamWriter) -> None:
        await opened.wait()
        writer.write(head(404, "text/plain", length=0))

    site.play("/robots.txt", slow)
    rules = Robots(web.client, "ApeRAG", timedelta(hours=1))
    first = asyncio.ensure_future(rules.require(f"{site.url}/1"))
    second = asyncio.ensure_future(rules.require(f"{site.url}/2"))
    await asyncio.sleep(0)
    first.cancel()
    opened.set()
    await second
    assert first.cancelled()


async def test_what_is_remembered_stays_small(web: Web, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest text gives way: a site cannot fill the memory with its robots.txt."""
    monkeypatch.setattr(robots, "KEPT_CHARACTERS", 100)
    rules = Robots(web.client, "ApeRAG", timedelta(hours=1))
    site.page("/robots.txt", "#" * 60, "text/plain")
    port = site.port
    for host in (f"127.0.0.1:{port}", f"[::ffff:127.0.0.1]:{port}", f"127.0.0.1:{port}"):
        await rules.require(f"http://{host}/")
    assert site.paths() == ["/robots.txt"] * 3
