"""One way from a caller to a worker and back, and how it is measured."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import psutil

from bench.dispatch.task import Task
from bench.errors import BenchError
from bench.measure.processes import cpu_between, tree_cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Any

    from bench.harness.processes import Processes

LOOK_SECONDS = 0.01
SILENCE_SECONDS = 120.0
IN_FLIGHT = 8
"""Callers at a time, where not one alone."""
WARM_UP = 64


class Lane(Protocol):
    """``tasks`` are those that make sense on it."""

    name: str
    tasks: Sequence[Task]

    async def enqueue(self, task: Task, count: int) -> None:
        """Returns when the broker has them all."""
        ...

    async def drained(self) -> bool:
        """Whether everything enqueued has ended and its end is recorded."""
        ...

    async def trip(self, task: Task) -> float:
        """Seconds from the call until the caller knows of the end."""
        ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """``trips`` are made one at a time, and as many again ``IN_FLIGHT`` at a time."""

    tasks: int
    trips: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds; those of CPU by the process that spent them, of the enqueue and of the drain after it."""

    lane: str
    task: Task
    tasks: int
    enqueue_seconds: float
    drain_seconds: float
    enqueue_cpu_seconds: Mapping[str, float]
    drain_cpu_seconds: Mapping[str, float]
    alone: Sequence[float]
    together: Sequence[float]


@dataclass(frozen=True, slots=True)
class Course:
    """A lane with the processes that work for it; ``servers`` maps names to pids."""

    lane: Lane
    processes: Processes
    servers: Mapping[str, int]

    async def measure(self, task: Task, sizes: Sizes) -> Measured:
        await in_flight(self.lane, task, WARM_UP)
        alone = [await self.lane.trip(task) for _ in range(sizes.trips)]
        together = await in_flight(self.lane, task, sizes.trips)
        with self.processes.halted():
            before = self._cpu_seconds()
            begun = time.perf_counter()
            await self.lane.enqueue(task, sizes.tasks)
            enqueued = time.perf_counter() - begun
            between = self._cpu_seconds()
        begun = time.perf_counter()
        await self._drain()
        drained = time.perf_counter() - begun
        enqueue_cpu, drain_cpu = cpu_between(before, between), cpu_between(between, self._cpu_seconds())
        return Measured(self.lane.name, task, sizes.tasks, enqueued, drained, enqueue_cpu, drain_cpu, alone, together)

    async def _drain(self) -> None:
        until = time.monotonic() + SILENCE_SECONDS
        while not await self.lane.drained():
            if time.monotonic() > until:
                message = f"{self.lane.name}: the tasks did not end within {SILENCE_SECONDS:.0f} s"
                raise BenchError(message, hint=f"the workers' log ends with:\n{self.processes.log_tail()}")
            await asyncio.sleep(LOOK_SECONDS)

    def _cpu_seconds(self) -> dict[str, float]:
        own = psutil.Process().cpu_times()
        servers = {name: tree_cpu_seconds(pid) for name, pid in self.servers.items()}
        return {"workers": self.processes.cpu_seconds(), **servers, "caller": own.user + own.system}


async def many(work: Callable[[], Coroutine[Any, Any, object]], count: int, callers: int) -> None:
    """``count`` times, ``callers`` at a time."""
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await work()

    await asyncio.gather(*(caller() for _ in range(callers)))


async def in_flight(lane: Lane, task: Task, trips: int) -> list[float]:
    """Each caller makes its trips one after the other."""

    async def caller(number: int) -> list[float]:
        return [await lane.trip(task) for _ in range(number, trips, IN_FLIGHT)]

    found = await asyncio.gather(*(caller(number) for number in range(IN_FLIGHT)))
    return [seconds for of_caller in found for seconds in of_caller]
