"""One stack of real processes that other services listen to, and its event stream as it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_common.bus.connection import connect
from aperag_common.services import Service
from aperag_common.settings import NatsSettings
from aperag_testing.client import Client
from aperag_testing.stack import Stack, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aperag_common.bus.connection import Bus

SETTINGS = {
    "APERAG_OUTBOUND__ALLOW": '["127.0.0.1"]',
    "APERAG_MODELS__TRIES": "1",
    "APERAG_RETENTION__UPLOADED": "PT0S",
    "APERAG_TIMERS__COLLECTION_GC": "PT1S",
    "APERAG_SUMMARIES__QUIET": "PT0S",
    "APERAG_TIMERS__RECONCILE_COLLECTION_SUMMARIES": "PT1S",
}


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("events") / "home", settings=SETTINGS) as stack:
        yield stack


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """The administrator, who is the installation's first user."""
    async with Client(stack.url, stack.api_key) as client:
        yield client


@pytest_asyncio.fixture
async def bus(stack: Stack) -> AsyncIterator[Bus]:
    """As the gateway connects: it may read all events."""
    seed = stack.home / "secrets" / f"{Service.API}.nk"
    bus = await connect(NatsSettings(url=stack.state()["nats_url"], seed_file=seed), service="api", instance="tests")
    yield bus
    await bus.close()
