"""What the queues on PostgreSQL have in common: a server like ours, and worker processes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aperag_standalone.postgres import PostgresServer
from aperag_standalone.process import Command
from bench.celery.workers import ROOT
from bench.errors import BenchError
from bench.harness.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

READY_SECONDS = 60.0
TRANSACTIONS = 12
"""Jobs accepted at a time, each in a transaction of its own; as many as our own caller has."""


@contextmanager
def own_server(folder: Path, name: str) -> Iterator[tuple[str, int]]:
    """With our settings; a second server, so that its CPU is that of one queue. Yields its libpq URL and its pid."""
    with PostgresServer(folder / f"{name}-postgres", trust=True) as server:
        yield server.create_database(name).replace("+asyncpg", ""), server.pid


def worker_processes(name: str, arguments: Sequence[Sequence[str]], folder: Path) -> Processes:
    """A process for each list of arguments of ``bench.dispatch.NAME_worker``."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    module = (sys.executable, "-m", f"bench.dispatch.{name}_worker")
    return Processes(name, [Command((*module, *own), env, ROOT) for own in arguments], folder)


async def await_ready(ready: Callable[[], Awaitable[bool]], workers: Processes) -> None:
    """All of them listen."""
    deadline = time.monotonic() + READY_SECONDS
    while not await ready():
        if time.monotonic() > deadline:
            message = f"the workers of {workers.name} did not start"
            raise BenchError(message, hint=f"their log ends with:\n{workers.log_tail()}")
        await asyncio.sleep(0.05)
