"""A worker process of pgqueuer, as ``pgq run`` makes one: one connection, uvloop, jobs fetched ten at a time."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from signal import Signals

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.domain.errors import FailingListenerError
from pgqueuer.models import Job

from bench.dispatch.task import SLOTS, WAIT_SECONDS, Task

BATCH = 10
"""pgqueuer's default."""
PROBE = timedelta(seconds=0.2)


async def noop(_: Job) -> None:
    pass


async def wait(_: Job) -> None:
    await asyncio.sleep(WAIT_SECONDS)


async def serve(url: str, ready_file: Path) -> None:
    """``ready_file`` appears once it hears notifications."""
    connection = await asyncpg.connect(url)
    queue = PgQueuer.from_asyncpg_connection(connection)
    queue.entrypoint(Task.NOOP.value)(noop)
    queue.entrypoint(Task.WAIT.value)(wait)
    asyncio.get_running_loop().add_signal_handler(Signals.SIGTERM, queue.shutdown.set)
    running = asyncio.create_task(queue.run(batch_size=BATCH, max_concurrent_tasks=SLOTS))
    while not running.done():
        if await hears(queue):
            await asyncio.to_thread(ready_file.touch)
            break
    await running
    await connection.close()


async def hears(queue: PgQueuer) -> bool:
    try:
        await queue.qm.listener_healthy(PROBE)
    except FailingListenerError:
        return False
    return True


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], Path(sys.argv[2])))
