"""The shared stack of real processes, a client of its gateway, and a person at its console with a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio

from aperag_testing.browser import HTML, chromium, visiting
from aperag_testing.client import Client
from aperag_testing.stack import Stack, rows_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import BrowserContext, Page
    from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture(scope="session")
def stack(shared_stack: Stack) -> Stack:
    return shared_stack


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.url, stack.api_key) as client:
        yield client


@pytest_asyncio.fixture
async def rows(stack: Stack) -> AsyncIterator[AsyncEngine]:
    """The stack's own database, to look at from outside."""
    async with rows_of(stack) as rows:
        yield rows


@pytest_asyncio.fixture
async def context(stack: Stack, tmp_path: Path) -> AsyncIterator[BrowserContext]:
    """Of a person who is not signed in."""
    async with chromium() as browser, visiting(browser, stack.url_of("console"), tmp_path) as context:
        yield context


@pytest_asyncio.fixture
async def page(context: BrowserContext, stack: Stack) -> Page:
    """Signed in with the administrator's password."""
    page = await context.new_page()
    await page.goto("/")
    await page.get_by_label("User name").fill("admin")
    await page.get_by_label("Password").fill(stack.admin_password)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/")
    return page


@pytest_asyncio.fixture
async def stranger(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url_of("console"), headers=HTML, timeout=30, trust_env=False) as http:
        yield http


@pytest_asyncio.fixture
async def person(stack: Stack, stranger: httpx.AsyncClient) -> httpx.AsyncClient:
    """The administrator, signed in with their password as a form does it."""
    answer = await stranger.post("/signin", data={"username": "admin", "password": stack.admin_password, "next": "/"})
    assert answer.status_code == 303, answer.text
    return stranger
