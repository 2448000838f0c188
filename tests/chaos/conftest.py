"""A stack with two of every worker and short leases, so that what a killed process held is soon taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_common.bus.connection import Bus, connect
from aperag_common.settings import NatsSettings
from aperag_testing.chaos.settings import HASTE, HOUSEKEEPING
from aperag_testing.client import Client
from aperag_testing.stack import Stack, rows_of, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("chaos") / "home"
    with running(home, "--indexers", "2", "--reconcilers", "2", settings={**HOUSEKEEPING, **HASTE}) as stack:
        yield stack


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
async def bus(stack: Stack) -> AsyncIterator[Bus]:
    """As the reconciler, who may look at every stream and consumer."""
    settings = NatsSettings(url=stack.state()["nats_url"], seed_file=stack.home / "secrets" / "reconciler.nk")
    bus = await connect(settings, service="reconciler", instance="tests")
    yield bus
    await bus.close()
