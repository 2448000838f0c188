"""Journeys through the console in a real browser; screenshots go to the test's temporary folder."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import pytest

from aperag_testing.browser import CHROMIUM, MISSING

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

    from aperag_testing.client import Client
    from aperag_testing.stack import Stack

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason=MISSING),
]

TEA = "# Tea\n\nGreen tea is steamed soon after it was picked; black tea withers first.\n"
PATHS = (
    "/",
    "/collections",
    "/collections/new",
    "/search",
    "/chats",
    "/jobs",
    "/jobs/timers",
    "/bots/new",
    "/events",
    "/jobs/all",
    "/integrations",
    "/integrations/keys",
    "/integrations/webhooks",
    "/integrations/subscriptions",
    "/account",
)
UNNAMED = """[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a')]
    .filter((it) => it.checkVisibility() && !it.ariaHidden && !it.labels?.length && !it.ariaLabel && !it.title && !it.innerText?.trim())
    .map((it) => it.outerHTML)"""
"""What a screen reader would have no name for."""


@pytest.fixture
def title() -> str:
    return f"Tea {uuid.uuid4().hex[:8]}"


async def make_collection(page: Page, title: str) -> str:
    await page.goto("/collections/new")
    await page.get_by_label("Name").fill(title)
    await page.get_by_role("button", name="Create collection").click()
    await page.get_by_text(f"“{title}” is ready.").wait_for()
    return page.url


async def upload(page: Page, name: str, body: str) -> None:
    files = {"name": name, "mimeType": "text/plain", "buffer": body.encode()}
    await page.locator("input[type=file]").first.set_input_files([files])


async def test_from_a_file_to_an_answer_whose_passage_is_opened(page: Page, title: str) -> None:
    await make_collection(page, title)
    await upload(page, "tea.md", TEA)
    await page.locator("[data-uploads] .pill.good", has_text="Searchable").wait_for()
    # The list below is live: nobody reloads it.
    await page.locator("#documents tr", has_text="tea.md").locator(".pill.good").wait_for()
    await page.get_by_role("link", name="Ask a question").click()
    await page.get_by_label("Your question").fill("How is green tea made?")
    await page.keyboard.press("Enter")
    await page.locator(".answer", has_text="steamed").wait_for()
    await page.locator("button.source", has_text="tea.md").first.click()
    passage = page.get_by_role("dialog").filter(has_text="steamed")
    await passage.wait_for()
    await passage.get_by_role("link", name="Open in the document").click()
    await page.locator("li.cited", has_text="steamed").wait_for()
    await page.go_back()
    await page.reload()
    await page.locator(".answer", has_text="steamed").wait_for()


async def test_a_failed_document_shows_its_reason_at_once_and_is_tried_again(page: Page, title: str) -> None:
    await make_collection(page, title)
    await upload(page, "broken.pdf", "%PDF-1.4 nonsense")
    await page.locator("[data-uploads] .reason", has_text="could not read").wait_for()
    await page.locator("[data-uploads]").get_by_role("link", name="broken.pdf").click()
    await page.get_by_text("The file is damaged.").wait_for()
    await page.get_by_role("button", name="Try again").click()
    await page.get_by_text("The indexes are being rebuilt.").wait_for()
    await page.get_by_text("The file is damaged.").wait_for()


async def test_what_happens_in_one_tab_is_seen_in_the_other(page: Page, context: BrowserContext, title: str) -> None:
    url = await make_collection(page, title)
    other = await context.new_page()
    await other.goto(url)
    await other.locator("#live[data-state=open]").wait_for()
    await page.bring_to_front()
    await upload(page, "tea.md", TEA)
    await page.locator("[data-uploads] .pill.good").wait_for()
    await other.bring_to_front()
    await other.locator("#documents tr", has_text="tea.md").locator(".pill.good").wait_for()


async def test_a_page_survives_a_gateway_that_is_killed(page: Page, stack: Stack, client: Client, title: str) -> None:
    url = await make_collection(page, title)
    await page.locator("#live[data-state=open]").wait_for()
    box = page.get_by_placeholder("Find by name")
    await box.fill("half a wo")
    stack.kill("api")
    await page.locator("#live[data-state=lost]").wait_for()
    await page.locator("#live[data-state=open]").wait_for()
    files = [("files", ("tea.md", TEA.encode(), "text/markdown"))]
    answer = await client.patiently("POST", f"/collections/{url.rsplit('/', 1)[1]}/documents", files=files)
    assert answer.status_code == 200, answer.text
    await page.locator("#documents tr", has_text="tea.md").locator(".pill.good").wait_for()
    assert await box.input_value() == "half a wo", "what a person is writing is left alone"


async def test_dead_letters_are_requeued_by_the_filters_after_a_count(page: Page, title: str) -> None:
    url = await make_collection(page, title)
    for number in range(2):
        await upload(page, f"broken-{number}.pdf", f"%PDF-1.4 nonsense {number}")
    await page.locator("[data-uploads] .reason").nth(1).wait_for()
    await page.goto(f"/jobs/dead-letters?collection_id={url.rsplit('/', 1)[1]}")
    await page.get_by_role("button", name="Requeue selected, or all matching").click()
    await page.get_by_text("2 dead letters match.").wait_for()
    await page.get_by_role("button", name="Requeue").click()
    await page.get_by_text("Requeued 2 dead letters as 2 tasks.").wait_for()


async def test_pages_are_used_by_keyboard_and_every_control_has_a_name(page: Page) -> None:
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.id") == "find"
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await page.keyboard.press("c")
    await page.wait_for_url("**/collections")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    for path in PATHS:
        await page.goto(path)
        assert await page.evaluate(UNNAMED) == [], path
        assert await page.locator("h1").count() <= 1, path


async def test_a_phone_shows_every_page_without_scrolling_sideways(page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    for path in PATHS:
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


async def test_colours_follow_the_system_until_a_person_chooses(page: Page) -> None:
    async def ground() -> float:
        colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3]))

    await page.emulate_media(color_scheme="light")
    light = await ground()
    await page.emulate_media(color_scheme="dark")
    assert await ground() < light
    await page.goto("/account")
    await page.get_by_role("combobox", name="Theme").select_option("light")
    await page.get_by_role("button", name="Save").click()
    await page.wait_for_load_state()
    assert await ground() == light
