"""DuckDuckGo through the page that it offers to browsers without scripts; it needs no key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.knowledge.web.adapters.results import results_of
from aperag_api.knowledge.web.searching.decide import restricted
from aperag_api.knowledge.web.searching.ports import Found
from aperag_common import errors
from aperag_common.outbound.client import Call

if TYPE_CHECKING:
    from aperag_api.knowledge.web.searching.ports import WebQuery
    from aperag_common.outbound.client import OutboundClient
    from aperag_common.pool import ProcessPool

MAX_BYTES = 4 * 1024 * 1024
PARSE_SECONDS = 10.0
EVERYWHERE = "wt-wt"
REGIONS = {
    "en-us": "us-en",
    "en-gb": "uk-en",
    "zh-cn": "cn-zh",
    "zh-tw": "tw-tzh",
    "ja-jp": "jp-jp",
    "ko-kr": "kr-kr",
    "fr-fr": "fr-fr",
    "de-de": "de-de",
    "es-es": "es-es",
    "it-it": "it-it",
    "pt-br": "br-pt",
    "ru-ru": "ru-ru",
}


@dataclass(frozen=True, slots=True)
class DuckDuckGo:
    client: OutboundClient
    pool: ProcessPool
    url: str
    name: str = "duckduckgo"

    async def search(self, query: WebQuery, *, seconds: float) -> list[Found]:
        region = REGIONS.get(query.locale.replace("_", "-").lower(), EVERYWHERE)
        form = {"q": restricted(query.text, query.sites), "kl": region}
        headers = {"accept": "text/html", "accept-language": f"{query.locale}, *;q=0.5"}
        received = await self.client.fetch(
            Call(self.url, "POST", headers, form=form), seconds=seconds, max_bytes=MAX_BYTES
        )
        status = received.head.status
        if status == 429:
            raise _limited()
        if not 200 <= status < 300:
            raise errors.UpstreamUnavailable(f"DuckDuckGo answered {status}")
        try:
            results = await self.pool.run(results_of, received.content, seconds=PARSE_SECONDS)
        except TimeoutError as err:
            raise _not_understood() from err
        if results.challenged or (status == 202 and not results.rows):
            raise _limited()
        if not results.known:
            raise _not_understood()
        return [Found(*row) for row in results.rows]


def _limited() -> errors.RateLimited:
    return errors.RateLimited("DuckDuckGo wants fewer searches: try again later, or set a key for Jina")


def _not_understood() -> errors.UpstreamUnavailable:
    return errors.UpstreamUnavailable("DuckDuckGo's page has a form that is not understood here")
