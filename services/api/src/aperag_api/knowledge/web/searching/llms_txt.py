"""What a site lists for language models: ``/llms.txt``, Markdown with a title, a summary and sections of links."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from aperag_api.knowledge.web.searching.ports import Found
from aperag_common import errors
from aperag_common.outbound.client import Call
from aperag_common.outbound.failures import BlockedAddress, BrokenResponse, InvalidUrl, TooLarge

if TYPE_CHECKING:
    from aperag_api.knowledge.web.pages.robots import Robots
    from aperag_common.outbound.client import OutboundClient, Received

NAME = "llms.txt"
MAX_BYTES = 2 * 1024 * 1024
MAX_LINKS = 2_000
OPTIONAL = "optional"
"""The section of what can be left out: it comes last."""

# Every repeat is bounded or excludes what follows it: the text is a stranger's.
_LINK = re.compile(
    r"\s{0,20}[-*+]\s{1,20}\[([^\]\n]{1,500})\]"
    r"\(\s{0,5}([^)\s]{1,2000})(?:\s[^)\n]{0,300})?\)(?:\s{0,5}:)?(.{0,1000})"
)
_BARE = re.compile(r"\s{0,20}[-*+]\s{1,20}<?(https?://[^\s>]{1,2000})>?(?:\s{0,5}[:–—-])?(.{0,1000})")
_SUMMARY = re.compile(r"^>[ \t]{0,20}(.{1,2000})", re.MULTILINE)
_TITLE = re.compile(r"^#[ \t]{1,20}(.{1,500})", re.MULTILINE)


class LlmsTxt:
    """Asks where the convention puts the list: below the path that was named, else at the root."""

    def __init__(self, client: OutboundClient, robots: Robots) -> None:
        self._client = client
        self._robots = robots

    async def links(self, place: str, *, seconds: float) -> list[Found]:
        """Raises ``Terminal`` with the code ``NO_LLMS_TXT`` where the site has none."""
        for url in candidates(place):
            text = await self._fetch(url, seconds=seconds)
            if text is None:
                continue
            return await asyncio.to_thread(links_of, text, url) or [_itself(text, url)]
        raise errors.Terminal(f"{place} has no llms.txt", code="NO_LLMS_TXT")

    async def _fetch(self, url: str, *, seconds: float) -> str | None:
        """None where there is no such list; what says nothing about the other places is raised."""
        try:
            received = await self._client.fetch(
                Call(url), seconds=seconds, max_bytes=MAX_BYTES, before=self._robots.require
            )
        except (TooLarge, BrokenResponse):
            return None
        if received.head.status >= 500 or received.head.status == 429:
            raise errors.UpstreamUnavailable(f"{url} answered {received.head.status}")
        return _text_of(received)


def candidates(place: str) -> list[str]:
    """``place`` is a host, an address below which the list may be, or the list's own address."""
    try:
        parts = urlsplit(place if "://" in place else f"https://{place}")
    except ValueError as err:
        raise InvalidUrl(f"{place[:100]!r} in search_llms_txt is no host and no address") from err
    root = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
    if parts.path.endswith(".txt"):
        return [f"{root}{parts.path}"]
    below = [f"{root}{parts.path.rstrip('/')}/llms.txt"] if parts.path.strip("/") else []
    return [*below, f"{root}/llms.txt", f"{root}/llms-full.txt"]


def links_of(text: str, base: str) -> list[Found]:
    """In the order of the list, with the section "Optional" last."""
    first: list[Found] = []
    last: list[Found] = []
    section = ""
    for line in text.splitlines():
        if line.startswith("##"):
            section = line.strip("# \t").lower()
        elif (found := _link(line, base)) is not None:
            (last if section == OPTIONAL else first).append(found)
            if len(first) + len(last) >= MAX_LINKS:
                break
    return first + last


def _link(line: str, base: str) -> Found | None:
    if named := _LINK.match(line):
        title, url, notes = named.groups()
    elif bare := _BARE.match(line):
        url, notes = bare.group(1).rstrip(":.,;"), bare.group(2)
        title = url
    else:
        return None
    try:
        return Found(title.strip(), urljoin(base, url), notes.strip())
    except ValueError:
        return None


def _itself(text: str, url: str) -> Found:
    """A list without links, such as ``llms-full.txt``, is itself what there is to read."""
    title, summary = _TITLE.search(text), _SUMMARY.search(text)
    return Found(title.group(1) if title else url, url, summary.group(1) if summary else "")


def _text_of(received: Received) -> str | None:
    """A page that says "not found" with status 200 is HTML."""
    text = received.content.decode("utf-8-sig", errors="replace")
    is_html = received.head.media_type in {"text/html", "application/xhtml+xml"} or text.lstrip()[:1] == "<"
    return text if received.head.status == 200 and text.strip() and not is_html else None


REFUSED = (InvalidUrl, BlockedAddress)
"""What no other search makes good: the place that was named may not be asked."""
