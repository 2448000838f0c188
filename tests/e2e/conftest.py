"""One stack of real processes for all journeys, stopped before other tests begin, and a client of its gateway."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_common.db.session import make_engine
from aperag_common.settings import PostgresSettings
from aperag_common.testing.client import Client
from aperag_common.testing.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("e2e") / "home", os.environ)  # noqa: TID251  the caller's own settings
    started = stack.up()
    assert started.returncode == 0, started.stdout + started.stderr
    yield stack
    assert stack.down() == []


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.url, stack.api_key) as client:
        yield client


@pytest_asyncio.fixture
async def rows(stack: Stack) -> AsyncIterator[AsyncEngine]:
    """The stack's own database, to look at from outside."""
    engine = make_engine(PostgresSettings(url=stack.postgres_url), name="tests")
    yield engine
    await engine.dispose()
