"""The shared stack of real processes, and a client of its gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_testing.client import Client
from aperag_testing.stack import Stack, rows_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
