"""procrastinate's lane, the like-for-like one: a job's row, its history and its fetch under a lock, in PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from procrastinate.jobs import Status

from bench.dispatch import on_postgres
from bench.dispatch.lane import Course, many
from bench.dispatch.procrastinate_worker import make_app
from bench.dispatch.task import Task
from bench.harness.processes import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from procrastinate import App

NAME = "procrastinate"
LOOK_SECONDS = 0.002
"""It notifies of new jobs and of aborts, not of ends: its caller asks again and again."""
OPEN = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')) AS open"
WORKERS = "SELECT count(*) AS count FROM procrastinate_workers"


@dataclass(slots=True)
class ProcrastinateLane:
    """Ended jobs stay in the table with their history, as they do by default."""

    app: App
    name: str = NAME
    tasks: Sequence[Task] = tuple(Task)

    async def enqueue(self, task: Task, count: int) -> None:
        await many(lambda: self._defer(task), count, on_postgres.TRANSACTIONS)

    async def drained(self) -> bool:
        return not (await self.app.connector.execute_query_one_async(OPEN))["open"]

    async def trip(self, task: Task) -> float:
        begun = time.perf_counter()
        job = await self._defer(task)
        while await self.app.job_manager.get_job_status_async(job) is not Status.SUCCEEDED:
            await asyncio.sleep(LOOK_SECONDS)
        return time.perf_counter() - begun

    async def _defer(self, task: Task) -> int:
        return await self.app.tasks[task.value].defer_async()


@asynccontextmanager
async def procrastinate_course(folder: Path, processes: int) -> AsyncIterator[Course]:
    """Its server, its tables, its workers, and the caller's pool."""
    with on_postgres.own_server(folder, NAME) as (url, pid):
        async with make_app(url, connections=on_postgres.TRANSACTIONS).open_async() as app:
            await app.schema_manager.apply_schema_async()
            workers = on_postgres.worker_processes(NAME, [(url,)] * processes, folder)

            async def ready() -> bool:
                return bool((await app.connector.execute_query_one_async(WORKERS))["count"] == processes)

            with running([workers]):
                await on_postgres.await_ready(ready, workers)
                yield Course(ProcrastinateLane(app), workers, {"database": pid})
