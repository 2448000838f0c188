"""Celery's lane: its caller is a thread per trip, as its client is made for threads."""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from bench.celery.app import BROKER, TRACED, make_app
from bench.celery.redis import RedisServer
from bench.celery.workers import Pool, Shape, await_ready, is_drained, worker_processes
from bench.dispatch.lane import IN_FLIGHT, Course
from bench.dispatch.task import SLOTS, Task
from bench.harness.processes import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ANSWER_SECONDS = 60.0


class CeleryLane:
    """Results are kept in Redis and announced to the caller; work is acknowledged after it has ended."""

    def __init__(self, name: str, broker: str, tasks: Sequence[Task] = tuple(Task)) -> None:
        self.name = name
        self.tasks = tasks
        self.app: Any = make_app(broker)
        self._threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="caller")
        self._redis: Any = self.app.connection_for_read().default_channel.client

    async def enqueue(self, task: Task, count: int) -> None:
        await self._run(self._send, task, count)

    async def drained(self) -> bool:
        return bool(await self._run(is_drained, self._redis))

    async def trip(self, task: Task) -> float:
        return float(await self._run(self._trip, task))

    def close(self) -> None:
        self._threads.shutdown()
        # Results that are collected later would each look twenty seconds for a server that has ended by then.
        gc.collect()
        self._redis.close()
        self.app.close()

    def _send(self, task: Task, count: int) -> None:
        # One producer for all: the quickest that Celery offers.
        with self.app.producer_or_acquire() as producer:
            for _ in range(count):
                self.app.send_task(task.value, producer=producer)

    def _trip(self, task: Task) -> float:
        begun = time.perf_counter()
        self.app.send_task(task.value).get(timeout=ANSWER_SECONDS)
        return time.perf_counter() - begun

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


@contextmanager
def celery_courses(folder: Path, processes: int) -> Iterator[list[Course]]:
    """Redis, and a lane for each way to run its workers."""
    threads = Shape(Pool.THREADS, processes, SLOTS)
    prefork = Shape(Pool.PREFORK, processes, SLOTS)
    # Children that wait one after the other would only show that 20 ms are 20 ms.
    kinds: tuple[tuple[str, Shape, tuple[Task, ...], dict[str, str]], ...] = (
        ("celery, threads", threads, tuple(Task), {}),
        ("celery, prefork", prefork, (Task.NOOP,), {}),
        ("celery, threads, traced", threads, (Task.NOOP,), {TRACED: "1"}),
    )
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder / "redis"))
        courses = []
        for number, (name, shape, tasks, extra) in enumerate(kinds):
            broker = redis.database(number)
            lane = CeleryLane(name, broker, tasks)
            stack.callback(lane.close)
            workers = worker_processes(
                f"celery-{number}", "bench.dispatch.celery_tasks", shape, folder, {BROKER: broker, **extra}
            )
            stack.enter_context(running([workers]))
            await_ready(lane.app, workers)
            courses.append(Course(lane, workers, {"broker": redis.pid}))
        yield courses
