"""The baseline's side: its rows, its chain, its workers."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.celery.app import BROKER, VISIBILITY, make_app
from bench.celery.redis import RedisServer
from bench.celery.workers import Pool, Shape, await_ready, worker_processes
from bench.harness.processes import running
from bench.pipeline import baseline_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.stack import Stack
    from aperag_work.accepting import NewDocument
    from bench.harness.processes import Processes

MODULE = "bench.pipeline.celery_tasks"
OBJECTS = "BENCH_OBJECTS"
POSTGRES = "BENCH_POSTGRES"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Celery's workers on a Redis of their own."""

    engine: AsyncEngine
    app: Any
    processes: Processes
    redis: RedisServer

    async def accept(self, document: NewDocument) -> None:
        async with self.engine.begin() as conn:
            await baseline_rows.add(conn, document)
        await asyncio.to_thread(self._send, document.id)

    def _send(self, document_id: str) -> None:
        (self.app.signature("parse", (document_id,)) | self.app.signature("fan_out")).apply_async()


@contextmanager
def running_baseline(
    stack: Stack, engine: AsyncEngine, folder: Path, *, processes: int, visibility_seconds: float | None = None
) -> Iterator[Baseline]:
    """One worker with as many children as the indexer's pool has; each does the work of its task itself."""
    with RedisServer(folder / "redis") as redis:
        broker = redis.database(0)
        environment = {BROKER: broker, OBJECTS: str(stack.objects), POSTGRES: stack.postgres_url}
        environment |= {"OPENBLAS_NUM_THREADS": "1"}
        if visibility_seconds is not None:
            environment |= {VISIBILITY: str(visibility_seconds)}
        app = make_app(broker, visibility_seconds=visibility_seconds)
        workers = worker_processes("baseline", MODULE, Shape(Pool.PREFORK, processes, 1), folder, environment)
        try:
            with running([workers]):
                await_ready(app, workers)
                yield Baseline(engine, app, workers, redis)
        finally:
            app.close()
