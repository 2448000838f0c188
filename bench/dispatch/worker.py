"""A worker process of ours: the indexer's loop, claims and fence around a task that does nothing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_common.bus.worker import Worker, make_broker
from aperag_common.events.commands import ParseDocument
from aperag_common.process import until_stopped
from aperag_common.runtime import open_runtime
from aperag_common.settings import ServiceSettings
from aperag_common.work.claims import Claims
from aperag_common.work.finisher import Finished, Finisher
from aperag_common.work.policy import WorkPolicy
from bench.dispatch.order import CONSUMER, REPLIES, Order
from bench.dispatch.task import SLOTS, WAIT_SECONDS, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.bus.delivery import Delivery

SERVICE = "indexer"
STEPS = "indexer-parse"


async def run(task: Task) -> None:
    if task is Task.WAIT:
        await asyncio.sleep(WAIT_SECONDS)


async def write_nothing(_conn: AsyncConnection, _finished: Sequence[Finished[None]]) -> None:
    """The step's own row and what follows from it are written by the fence."""


async def refuse(_: Delivery, error: Exception) -> None:
    raise error


async def serve(settings: ServiceSettings, ready_file: Path) -> None:
    """``ready_file`` appears once the consumers are bound."""
    async with open_runtime(settings, service=SERVICE) as runtime:
        policy = WorkPolicy.of(settings.work)
        claims = Claims(runtime.engine, runtime.courier, policy, runtime.metrics, runtime.instance)
        finisher = Finisher(claims, write_nothing)

        async def without_database(order: Order) -> None:
            await run(order.data.task)
            await runtime.bus.nc.publish(f"{REPLIES}.{order.data.number}")

        async def claimed_and_fenced(command: ParseDocument) -> None:
            async with claims.claim(command) as step:
                await run(Task(step.subject.name.partition("-")[0]))
                await finisher.finish(step, None)

        worker = Worker(make_broker(settings.nats.url), runtime.bus, runtime.metrics, refuse)
        worker.subscribe(CONSUMER, without_database, slots=SLOTS)
        worker.subscribe(STEPS, claimed_and_fenced, slots=SLOTS)
        await worker.start()
        while not all(loop.state.bound for loop in worker.loops):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(ready_file.touch)
        await until_stopped()
        await worker.stop()


if __name__ == "__main__":
    asyncio.run(serve(ServiceSettings(), Path(sys.argv[1])))
