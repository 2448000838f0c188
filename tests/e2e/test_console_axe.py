"""The console's pages against axe's rules of accessibility, in both themes; axe comes with the tests, not with the product."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.test_console_browser import PATHS, TEA, make_collection, upload

from aperag_testing.browser import CHROMIUM, MISSING

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason=MISSING),
]

PINS = Path(__file__).parent / "axe"
INSTALL_SECONDS = 120
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
LOOK = """async (rules) => (await axe.run({runOnly: {type: 'tag', values: rules}})).violations.map(
    (it) => [it.id, it.help, ...it.nodes.slice(0, 3).map((node) => node.target.join(' ') + ': ' + node.html.slice(0, 160))])"""


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script, as pinned."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, so there is no axe-core")
    home = tmp_path_factory.mktemp("axe")
    for pin in ("package.json", "package-lock.json"):
        shutil.copy(PINS / pin, home)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(install, cwd=home, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm could not install axe-core: {done.stderr}")
    return (home / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


async def wrong(page: Page, axe: str, path: str) -> list[Any]:
    await page.goto(path)
    await page.evaluate(axe)
    return [[path, *found] for found in await page.evaluate(LOOK, RULES)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_page_breaks_a_rule(page: Page, axe: str, scheme: str) -> None:
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    collection = await make_collection(page, f"Rules in the {scheme}")
    for name, body in (("tea.md", TEA), ("broken.pdf", "%PDF-1.4 nonsense")):
        await upload(page, name, body)
    await page.locator("[data-uploads] .pill.good").wait_for()
    await page.locator("[data-uploads] .reason").wait_for()
    await page.locator("[data-uploads]").get_by_role("link", name="tea.md").click()
    await page.get_by_role("heading", name="tea.md").wait_for()
    search = f"/search?q=tea&collection={collection.rsplit('/', 1)[1]}"
    found = [it for path in (*PATHS, collection, page.url, search) for it in await wrong(page, axe, path)]
    assert found == []
