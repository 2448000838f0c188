"""Web searches: one engine after the other until one finds something, and beside them what a site lists itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from aperag_api.knowledge.web.schemas import WebResult, WebSearchIn, WebSearchOut
from aperag_api.knowledge.web.searching import decide, llms_txt
from aperag_api.knowledge.web.searching.ports import WebQuery
from aperag_common import errors
from aperag_common.outbound.failures import TimedOut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from aperag_api.knowledge.web.searching.llms_txt import LlmsTxt
    from aperag_api.knowledge.web.searching.ports import Found, WebSearchPort

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Outcome:
    """What one source brought: results, or why there are none, by the name of who was asked."""

    found: Sequence[Found] = ()
    answered: bool = False
    failures: dict[str, errors.ApeRAGError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WebSearchService:
    """``engines`` in the order they are asked."""

    engines: Sequence[WebSearchPort]
    lists: LlmsTxt

    async def search(self, body: WebSearchIn) -> WebSearchOut:
        query, place = (body.query or "").strip(), (body.search_llms_txt or "").strip()
        if not (query or place):
            raise errors.InvalidParameter("There is nothing to search for: give query, search_llms_txt, or both")
        begun = time.monotonic()
        sites = decide.sites_of(body.source)
        # More than asked for: duplicates and results from elsewhere are still to be left out.
        asked = WebQuery(query, body.locale, sites, body.max_results * 2)
        deadline = asyncio.get_running_loop().time() + body.timeout
        sources = [self._ask_engines(asked, deadline)] if query else []
        sources += [self._ask_list(place, query, deadline)] if place else []
        outcomes = await asyncio.gather(*sources)
        if not any(outcome.answered for outcome in outcomes):
            raise _all_failed(outcomes)
        found = decide.chosen([outcome.found for outcome in outcomes], sites, body.max_results)
        return WebSearchOut(
            query=decide.shown_query(query, place),
            results=[_result(rank, result) for rank, result in enumerate(found, start=1)],
            total_results=len(found),
            search_time=round(time.monotonic() - begun, 3),
            errors={name: err.message for outcome in outcomes for name, err in outcome.failures.items()},
        )

    async def _ask_engines(self, query: WebQuery, deadline: float) -> _Outcome:
        """An engine that is not the last gets half of the time that is left."""
        outcome = _Outcome()
        for others, engine in zip(reversed(range(len(self.engines))), self.engines, strict=True):
            left = deadline - asyncio.get_running_loop().time()
            seconds = left / 2 if others else left
            found = await _try(outcome, engine.name, engine.search(query, seconds=seconds), seconds)
            if found:
                return outcome
        return outcome

    async def _ask_list(self, place: str, query: str, deadline: float) -> _Outcome:
        outcome = _Outcome()
        seconds = deadline - asyncio.get_running_loop().time()
        await _try(outcome, llms_txt.NAME, self.lists.links(place, seconds=seconds), seconds)
        outcome.found = await asyncio.to_thread(decide.by_relevance, outcome.found, query)
        missing = outcome.failures.get(llms_txt.NAME)
        # That there is no list is an answer, though an empty one.
        outcome.answered = outcome.answered or (missing is not None and missing.error_code == "NO_LLMS_TXT")
        return outcome


async def _try(outcome: _Outcome, name: str, asking: Awaitable[list[Found]], seconds: float) -> bool:
    """Whether something was found; a failure is noted in ``outcome`` beside those of others."""
    try:
        async with asyncio.timeout(seconds):
            outcome.found = await asking
    except TimeoutError:
        outcome.failures[name] = TimedOut(f"No answer within {seconds:.0f} s")
    except errors.ApeRAGError as err:
        outcome.failures[name] = err
    else:
        outcome.answered = True
        return bool(outcome.found)
    log.warning("web.search_failed", source=name, code=outcome.failures[name].error_code)
    return False


def _all_failed(outcomes: Sequence[_Outcome]) -> errors.ApeRAGError:
    """Refused, where nothing was asked but what may not be; else worth another try."""
    failures = {name: err for outcome in outcomes for name, err in outcome.failures.items()}
    if all(isinstance(err, llms_txt.REFUSED) for err in failures.values()):
        err = next(iter(failures.values()))
        return errors.InvalidParameter(err.message, code=err.error_code)
    said = "; ".join(f"{name}: {err.message}" for name, err in failures.items())
    limited = all(err.error_code == errors.RateLimited.code for err in failures.values())
    kind = errors.RateLimited if limited else errors.UpstreamUnavailable
    return kind(f"No search engine answered ({said})")


def _result(rank: int, found: Found) -> WebResult:
    return WebResult(
        rank=rank,
        title=found.title,
        url=found.url,
        snippet=found.snippet,
        domain=decide.domain_of(found.url),
        timestamp=found.timestamp,
    )
