"""An answer in the console while it is made: reloaded, cut off, stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_testing.browser import CHROMIUM, MISSING, chromium, visiting
from aperag_testing.provider import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from aperag_testing.conversation import Talk
    from aperag_testing.provider import Provider
    from aperag_testing.stack import Stack

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason=MISSING),
]


@pytest_asyncio.fixture
async def page(stack: Stack, talk: Talk, tmp_path: Path) -> AsyncIterator[Page]:
    """On the chat, signed in with a key."""
    url = stack.url_of("console")
    async with chromium() as browser, visiting(browser, url, tmp_path) as context:
        await context.add_cookies([{"name": "console_key", "value": stack.api_key, "url": url}])
        page = await context.new_page()
        await page.goto(f"/chats/{talk.bot}/{talk.chat}")
        yield page


async def test_an_answer_goes_on_after_a_reload_and_a_killed_gateway(
    stack: Stack, page: Page, talk: Talk, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.replies += [Reply(["First ", "words ", "and **more**."], gate=gate)]
    await talk.ask("Words?")
    for _ in range(2):
        await page.reload()
        await page.locator(".answer", has_text="First words").wait_for()
    stack.kill("api")
    await page.locator(".turn [data-state]", has_text="Connection lost").wait_for()
    gate.set()
    await page.locator(".answer strong", has_text="more").wait_for()
    await page.locator(".judge").wait_for()
    assert await page.locator(".answer").inner_text() == "First words and more."


async def test_a_stopped_answer_keeps_what_there_is_of_it(page: Page, talk: Talk, provider: Provider) -> None:
    gate = asyncio.Event()
    provider.replies += [Reply(["First ", "words ", "never"], gate=gate)]
    await talk.ask("Words?")
    await page.reload()
    await page.locator(".answer", has_text="First words").wait_for()
    await page.get_by_role("button", name="Stop").click()
    await page.locator(".waiting").wait_for(state="detached")
    assert "First words" in await page.locator(".answer").inner_text()
    assert "never" not in await page.locator(".answer").inner_text()
    gate.set()
