"""pgqueuer's lane, the floor: one row per task in PostgreSQL and nothing else."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
from pgqueuer.core.completion import CompletionWatcher
from pgqueuer.queries import Queries

from bench.dispatch import on_postgres
from bench.dispatch.lane import Course, many
from bench.dispatch.task import Task
from bench.harness.processes import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

NAME = "pgqueuer"
DEBOUNCE = timedelta(milliseconds=1)
"""How long its watcher waits for more news before it looks; by default 50 ms, which each round trip would show."""


@dataclass(slots=True)
class PgQueuerLane:
    """Ends are deleted from the queue and written to its log; its watcher learns of them by NOTIFY."""

    queries: Queries
    name: str = NAME
    tasks: Sequence[Task] = tuple(Task)
    _watcher: CompletionWatcher | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def enqueue(self, task: Task, count: int) -> None:
        # Nobody waits for these: a watcher would look at each of their notifications in vain.
        await self.close()
        await many(lambda: self.queries.enqueue(task.value, None), count, on_postgres.TRANSACTIONS)

    async def drained(self) -> bool:
        (row,) = await self.queries.driver.fetch("SELECT NOT EXISTS (SELECT FROM pgqueuer) AS empty")
        return bool(row["empty"])

    async def trip(self, task: Task) -> float:
        watcher = await self._watching()
        begun = time.perf_counter()
        (job,) = await self.queries.enqueue(task.value, None)
        await watcher.wait_for(job)
        return time.perf_counter() - begun

    async def close(self) -> None:
        if self._watcher is not None:
            await self._watcher.__aexit__(None, None, None)
            self._watcher = None

    async def _watching(self) -> CompletionWatcher:
        async with self._opening:
            if self._watcher is None:
                watcher = CompletionWatcher(self.queries.driver, queries=self.queries, debounce=DEBOUNCE)
                self._watcher = await watcher.__aenter__()
            return self._watcher


@asynccontextmanager
async def pgqueuer_course(folder: Path, processes: int) -> AsyncIterator[Course]:
    """Its server, its tables, its workers, and the caller's pool."""
    with on_postgres.own_server(folder, NAME) as (url, pid):
        # One connection more than transactions: the watcher listens on it.
        size = on_postgres.TRANSACTIONS + 1
        async with asyncpg.create_pool(url, min_size=size, max_size=size) as pool:
            queries = Queries.from_asyncpg_pool(pool)
            await queries.install()
            files = [folder / f"{NAME}-ready-{number}" for number in range(processes)]
            workers = on_postgres.worker_processes(NAME, [(url, str(file)) for file in files], folder)

            async def ready() -> bool:
                return all(file.exists() for file in files)

            with running([workers]):
                await on_postgres.await_ready(ready, workers)
                async with queries.driver:
                    lane = PgQueuerLane(queries)
                    yield Course(lane, workers, {"database": pid})
                    await lane.close()
