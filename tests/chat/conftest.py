"""One stack of real processes for all chats, with two gateways and two agents, and a provider that tests script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_testing.client import Client
from aperag_testing.conversation import MODEL, Talk, offer
from aperag_testing.provider import Provider, providing
from aperag_testing.stack import Stack, rows_of, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

SETTINGS = {
    "APERAG_OUTBOUND__ALLOW": '["127.0.0.1"]',
    "APERAG_LIMITS__STEPS": "4",
    "APERAG_LIMITS__ANSWER": "20000",
    "APERAG_MODELS__TRIES": "2",
}


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("chat") / "home"
    with running(home, "--agents", "2", "--gateways", "2", settings=SETTINGS) as stack:
        yield stack


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.url, stack.api_key) as client:
        yield client


@pytest_asyncio.fixture
async def other_gateway(stack: Stack) -> AsyncIterator[Client]:
    """The same user at the second gateway."""
    async with Client(stack.url_of("api-2"), stack.api_key) as client:
        yield client


@pytest_asyncio.fixture
async def rows(stack: Stack) -> AsyncIterator[AsyncEngine]:
    """The stack's own database, to look at from outside."""
    async with rows_of(stack) as rows:
        yield rows


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Provider]:
    async with providing() as provider:
        yield provider


@pytest_asyncio.fixture
async def talk(client: Client, provider: Provider) -> Talk:
    """A chat whose turns ``provider`` answers."""
    return await Talk.begin(client, await offer(client, provider))


@pytest_asyncio.fixture
async def bot(client: Client, talk: Talk) -> AsyncIterator[str]:
    """An agent bot whose model the tests script."""
    completion = {"model_service_provider": talk.provider, "model": MODEL}
    config = {"agent": {"completion": completion, "collections": []}}
    made = await client.json("POST", "/bots", json={"title": f"Tea {talk.chat}", "type": "agent", "config": config})
    yield made["id"]
    await client.http.delete(f"/bots/{made['id']}")
