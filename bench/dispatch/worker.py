"""A worker process of ours: the loop, claim and fence of the indexer around a task that does nothing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_common.bus.worker import Worker
from aperag_common.jobs.declared import PARSE
from aperag_common.process import run_process, until_stopped
from aperag_common.settings import ServiceSettings
from aperag_work.completion import Completion
from aperag_work.runtime import open_runtime
from bench.dispatch.order import CONSUMER, REPLIES, Order
from bench.dispatch.task import SLOTS, WAIT_SECONDS, Task

if TYPE_CHECKING:
    from aperag_common.bus.delivery import Delivery
    from aperag_work.job import Job

SERVICE = "indexer"


async def run(task: Task) -> None:
    if task is Task.WAIT:
        await asyncio.sleep(WAIT_SECONDS)


async def claimed_and_fenced(job: Job) -> Completion:
    """The job's own row, and what follows from it, are written by the engine."""
    await run(Task(job.subject.name.partition("-")[0]))
    return Completion()


async def refuse(_: Delivery, error: Exception) -> None:
    raise error


async def serve(settings: ServiceSettings, ready_file: Path) -> None:
    """``ready_file`` appears once the consumers are bound."""
    async with open_runtime(settings, service=SERVICE) as runtime:
        engine = runtime.job_engine(settings)
        engine.handle(PARSE, claimed_and_fenced, slots=SLOTS)

        async def without_database(order: Order) -> None:
            await run(order.data.task)
            await runtime.bus.nc.publish(f"{REPLIES}.{order.data.number}")

        worker = Worker(runtime.bus, runtime.declared, runtime.metrics, refuse)
        engine.subscribe(worker)
        worker.subscribe(CONSUMER, Order, without_database, slots=SLOTS)
        await engine.start()
        await worker.start()
        while not all(loop.state.bound for loop in worker.loops):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(ready_file.touch)
        await until_stopped()
        await worker.stop()
        await engine.stop()


if __name__ == "__main__":
    run_process(serve(ServiceSettings(), Path(sys.argv[1])))
