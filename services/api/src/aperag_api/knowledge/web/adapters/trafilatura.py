"""Pages that the gateway reads itself: guarded, as robots.txt allows, and taken apart by trafilatura."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.knowledge.web.adapters.extraction import extract
from aperag_api.knowledge.web.pages.media import charset_of, require_readable
from aperag_api.knowledge.web.pages.ports import Page
from aperag_common import errors
from aperag_common.outbound.client import Call

if TYPE_CHECKING:
    from aperag_api.knowledge.web.pages.robots import Robots
    from aperag_common.outbound.client import OutboundClient
    from aperag_common.pool import ProcessPool

ACCEPTED = "text/html, application/xhtml+xml, text/markdown, text/plain;q=0.9, application/json;q=0.8"


@dataclass(frozen=True, slots=True)
class TrafilaturaReader:
    client: OutboundClient
    robots: Robots
    pool: ProcessPool
    max_bytes: int
    parse_seconds: float
    name: str = "trafilatura"

    async def read(self, url: str, *, locale: str, seconds: float) -> Page:
        call = Call(url, headers={"accept": ACCEPTED, "accept-language": f"{locale}, *;q=0.5"})
        received = await self.client.fetch(
            call, seconds=seconds, max_bytes=self.max_bytes, before=self.robots.require, expect=require_readable
        )
        head = received.head
        try:
            found = await self.pool.run(
                extract, received.content, head.media_type, charset_of(head), seconds=self.parse_seconds
            )
        except TimeoutError as err:
            message = f"Taking the page apart took longer than {self.parse_seconds:.0f} s"
            raise errors.Terminal(message, code="PARSE_TIMEOUT") from err
        return Page(found.title, found.text)
