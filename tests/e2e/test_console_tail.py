"""Events, webhooks and batches of jobs at the console, in a real browser."""

from __future__ import annotations

import asyncio
import re
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.e2e.test_console_browser import TEA, make_collection, upload

from aperag_testing.browser import CHROMIUM, MISSING
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import BrowserContext, Page

    from aperag_testing.client import Client
    from aperag_testing.stack import Stack

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason=MISSING),
]


@pytest.fixture
def title() -> str:
    return f"Tail {uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[bytes]]]:
    """The address of a service that takes webhooks, and what it was sent."""
    got: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        got.append(await reader.readexactly(int(length[1]) if length else 0))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nthank you")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", got


async def of_collection(page: Page, url: str, query: str = "") -> None:
    """The tail of this collection's events, running."""
    await page.goto(f"/events?collection={url.rsplit('/', 1)[1]}{query}")
    await page.locator("#tail", has_text="Live").wait_for()


async def test_events_appear_as_they_happen_and_are_there_again_after_a_reload(page: Page, title: str) -> None:
    url = await make_collection(page, title)
    await upload(page, "before.md", TEA)
    await page.locator("[data-uploads] .pill.good").wait_for()
    await of_collection(page, url, "&type=document.*")
    other = await page.context.new_page()
    await other.goto(url)
    await page.bring_to_front()
    await page.locator(".event", has_text="before.md").first.wait_for()
    assert await page.locator(".event", has_text="index.").count() == 0
    await other.bring_to_front()
    await upload(other, "tea.md", TEA + "And more.")
    await other.locator("[data-uploads] .pill.good").wait_for()
    await page.bring_to_front()
    row = page.locator(".event", has_text="document.indexed").filter(has_text="tea.md")
    await row.wait_for()
    await page.reload()
    await row.wait_for()
    keys = await page.eval_on_selector_all(".event", "(rows) => rows.map((row) => row.dataset.key)")
    assert len(keys) == len(set(keys)) >= 4
    await row.locator("summary").click()
    await row.locator("pre", has_text='"specversion": "1.0"').wait_for()
    await row.get_by_role("link", name="Document").click()
    await page.get_by_role("heading", name="tea.md").wait_for()


async def test_paused_nothing_moves_and_what_waits_is_counted(
    page: Page, context: BrowserContext, client: Client, title: str
) -> None:
    url = await make_collection(page, title)
    await of_collection(page, url, "&type=document.uploaded&since=now")
    await page.locator("#live[data-state=open]").wait_for()
    await page.get_by_role("button", name="Pause").click()
    for number in range(2):
        files = [("files", (f"{number}.md", f"{TEA}{number}".encode(), "text/markdown"))]
        await client.json("POST", f"/collections/{url.rsplit('/', 1)[1]}/documents", files=files)
    await page.locator("#tail", has_text="Paused, 2 waiting").wait_for()
    assert await page.locator(".event").count() == 0
    await page.get_by_role("button", name="Resume").click()
    await page.locator(".event").nth(1).wait_for()
    # Whoever looks elsewhere finds things as they left them.
    await page.evaluate("window.dispatchEvent(new Event('blur'))")
    await page.locator("#tail", has_text="Paused").wait_for()
    files = [("files", ("more.md", f"{TEA}more".encode(), "text/markdown"))]
    await client.json("POST", f"/collections/{url.rsplit('/', 1)[1]}/documents", files=files)
    await page.locator("#tail", has_text="Paused, 1 waiting").wait_for()
    await page.evaluate("window.dispatchEvent(new Event('focus'))")
    await page.locator(".event", has_text="more.md").wait_for()


async def test_the_tail_goes_on_where_a_killed_gateway_left_it(
    page: Page, stack: Stack, client: Client, title: str
) -> None:
    url = await make_collection(page, title)
    await of_collection(page, url, "&type=document.indexed")
    stack.kill("api")
    await page.locator("#tail", has_text="Connection lost").wait_for()
    files = [("files", ("tea.md", TEA.encode(), "text/markdown"))]
    answer = await client.patiently("POST", f"/collections/{url.rsplit('/', 1)[1]}/documents", files=files)
    assert answer.status_code == 200, answer.text
    await page.locator(".event", has_text="tea.md").wait_for()
    assert await page.locator(".event").count() == 1


async def test_a_webhook_is_made_tried_and_its_delivery_seen(page: Page, title: str) -> None:
    async with receiver() as (url, got):
        await page.goto("/integrations/webhooks")
        await page.get_by_label("Address").fill(url)
        await page.get_by_label("Event types").fill("collection.created")
        await page.get_by_label("What it is for").fill(title)
        await page.get_by_role("button", name="Create webhook").click()
        await page.get_by_text(re.compile(r"^whsec_[\w+/=]{44}$")).wait_for()
        await page.get_by_role("button", name="Send test event").click()
        await page.get_by_role("heading", name="webhook.test").wait_for()

        async def delivered() -> bool:
            await page.reload()  # the service starts with the first webhook, which may take a moment
            return await page.locator(".pill.good", has_text="Delivered").count() > 0

        await until(delivered, within=60)
        await page.locator("#attempts pre", has_text="thank you").wait_for()
        await make_collection(page, title)
        await page.goto("/integrations/webhooks")
        await page.get_by_role("link", name=url).click()
        assert await page.get_by_text("whsec_").count() == 0, "it is shown once"
        row = page.locator("#deliveries tr", has_text="collection.created")
        await row.locator(".pill.good").wait_for()
        sent = len(got)
        await row.get_by_role("link").click()
        await page.get_by_role("button", name="Send again").click()
        await page.get_by_text("Sent again.").wait_for()
        await until(lambda: _more(got, sent), within=30)
        await page.get_by_role("link", name=title).click()
        await page.get_by_role("button", name="Disable").click()
        await page.get_by_text("You disabled this webhook.").wait_for()
        page.on("dialog", lambda dialog: dialog.accept())
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_text("The webhook was deleted.").wait_for()


async def _more(got: list[bytes], than: int) -> bool:
    return len(got) > than


async def test_failed_jobs_are_retried_by_their_filters_after_a_count(page: Page, title: str) -> None:
    url = await make_collection(page, title)
    for number in range(2):
        await upload(page, f"broken-{number}.pdf", f"%PDF-1.4 nonsense {number}")
    await page.locator("[data-uploads] .reason").nth(1).wait_for()
    await page.goto("/jobs/all")
    await page.get_by_label("Collection").select_option(url.rsplit("/", 1)[1])
    await page.wait_for_url("**collection_id=**")
    await page.get_by_label("Status").select_option("failed")
    await page.wait_for_url("**state=failed**")
    await page.get_by_role("button", name="Retry all matching").click()
    await page.get_by_text("6 failed jobs match. They will be run again as 2 tasks.").wait_for()
    await page.get_by_role("button", name="Retry 2").click()
    await page.get_by_text("Running 6 jobs again as 2 tasks.").wait_for()
