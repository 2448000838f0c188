"""Pages read side by side: each has its own outcome, and one limit holds for all callers together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from aperag_api.knowledge.web.pages.measure import measure
from aperag_api.knowledge.web.pages.robots import RobotsDisallowed
from aperag_api.knowledge.web.schemas import PageOut, WebReadIn, WebReadOut
from aperag_common import errors
from aperag_common.outbound.failures import BlockedAddress, InvalidUrl, TimedOut

if TYPE_CHECKING:
    from aperag_api.knowledge.web.pages.ports import Page, WebReadPort

log = structlog.get_logger(__name__)

FINAL = (InvalidUrl, BlockedAddress, RobotsDisallowed)
"""What is no reader's fault, so that no other is asked."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What the pages of one request share; ``turns`` are its own limit."""

    locale: str
    deadline: float
    turns: asyncio.Semaphore


class WebPageService:
    """``readers`` in the order they are asked."""

    def __init__(self, readers: Sequence[WebReadPort], *, max_concurrent: int, max_characters: int) -> None:
        self._readers = readers
        self._slots = asyncio.Semaphore(max_concurrent)
        self._max_characters = max_characters

    async def read(self, body: WebReadIn) -> WebReadOut:
        if not body.url_list:
            raise errors.InvalidParameter("There is nothing to read: name at least one address in url_list")
        begun = time.monotonic()
        request = _Request(
            body.locale,
            asyncio.get_running_loop().time() + body.timeout,
            asyncio.Semaphore(body.max_concurrent),
        )
        addresses = list(dict.fromkeys(_address(url) for url in body.url_list))
        async with asyncio.TaskGroup() as group:
            reading = {url: group.create_task(self._outcome(url, request)) for url in addresses}
        results = [reading[_address(url)].result().model_copy(update={"url": url}) for url in body.url_list]
        successful = sum(result.status == "success" for result in results)
        return WebReadOut(
            results=results,
            total_urls=len(results),
            successful=successful,
            failed=len(results) - successful,
            processing_time=round(time.monotonic() - begun, 3),
        )

    async def _outcome(self, url: str, request: _Request) -> PageOut:
        try:
            async with asyncio.timeout_at(request.deadline), request.turns, self._slots:
                return await self._shown(url, await self._read(url, request))
        except TimeoutError:
            failure: errors.ApeRAGError = TimedOut("It was not read within the time given: give more, or fewer pages")
        except errors.ApeRAGError as err:
            failure = err
        return PageOut(url=url, status="error", error=failure.message, error_code=failure.error_code)

    async def _read(self, url: str, request: _Request) -> Page:
        """A reader that is not the last gets half of the time that is left."""
        *others, last = self._readers
        for reader in others:
            left = request.deadline - asyncio.get_running_loop().time()
            try:
                return await reader.read(url, locale=request.locale, seconds=left / 2)
            except FINAL:
                raise
            except errors.ApeRAGError as err:
                log.warning("web.reader_failed", reader=reader.name, code=err.error_code)
        left = request.deadline - asyncio.get_running_loop().time()
        return await last.read(url, locale=request.locale, seconds=left)

    async def _shown(self, url: str, page: Page) -> PageOut:
        content = page.text[: self._max_characters]
        length = await asyncio.to_thread(measure, content)
        return PageOut(
            url=url,
            status="success",
            title=page.title,
            content=content,
            extracted_at=datetime.now(UTC),
            word_count=length.words,
            token_count=length.tokens,
            truncated=len(page.text) > len(content),
        )


def _address(url: str) -> str:
    """Without the fragment, which never leaves the reader's side."""
    return url.strip().partition("#")[0]
