"""Debian's Chromium, driven by tests of the console."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, BrowserContext, ConsoleMessage

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "there is no Chromium here: `./justw browser` installs it"
HTML = {"Accept": "text/html", "Accept-Language": "en"}
"""What a browser without scripts asks for."""
PATIENCE = 60_000
"""Milliseconds; the machine may be busy."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    from playwright.async_api import async_playwright  # noqa: PLC0415  only where the development tools are installed

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def visiting(browser: Browser, url: str, screenshots: Path) -> AsyncIterator[BrowserContext]:
    """A person's browser. Raises ``AssertionError`` where a script failed or the page's policy refused something."""
    context = await browser.new_context(base_url=url, locale="en-US")
    context.set_default_timeout(PATIENCE)
    wrong: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            wrong.append(message.text)

    context.on("console", listen)
    context.on("weberror", lambda failed: wrong.append(str(failed.error)))
    try:
        yield context
    finally:
        for number, page in enumerate(context.pages):
            await page.screenshot(path=screenshots / f"{number}.png", full_page=True)
        await context.close()
    if wrong:
        raise AssertionError(wrong)
