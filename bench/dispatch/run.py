"""``bench dispatch``: a task that does nothing, and one that waits, through our path and through its rivals'."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_common.bus import topology
from aperag_common.bus.connection import connect
from aperag_common.db import migrate
from aperag_common.db.session import make_engine
from aperag_common.settings import NatsSettings, PostgresSettings
from aperag_standalone import unprivileged
from aperag_standalone.nats import NatsServer
from aperag_standalone.postgres import PostgresServer
from aperag_standalone.process import Command
from aperag_testing.factories import make_collection, make_user
from aperag_testing.waiting import until
from bench.celery.workers import ROOT
from bench.dispatch.findings import findings
from bench.dispatch.lane import Course, Measured, Sizes
from bench.dispatch.ours import our_lanes
from bench.dispatch.rivals import Rival, require, rival_courses
from bench.harness.processes import Processes, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from bench.report.figures import Findings

DATABASE = "bench"
READY_SECONDS = 60.0
OWNERS = 64
"""Of the documents that our lane accepts: as in an installation, no owner has thousands in flight."""


@dataclass(frozen=True, slots=True)
class Options:
    """``rounds``: everything is measured so often, in turns, and the middle of it told."""

    tasks: int
    trips: int
    processes: int
    rounds: int
    rivals: Sequence[Rival]


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    require(options.rivals)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder())
        tell("starting servers and workers")
        courses = await stack.enter_async_context(_ours(folder, options))
        courses += await stack.enter_async_context(rival_courses(options.rivals, folder, options.processes))
        measured = await _measure(courses, options, tell)
    return findings(measured, options.processes)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aperag-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(unprivileged.passable(unprivileged.way()))
        yield folder


async def _measure(courses: list[Course], options: Options, tell: Callable[[str], None]) -> list[Measured]:
    """Only the workers that are measured run; all others are halted meanwhile."""
    found = []
    sizes = Sizes(options.tasks, options.trips)
    for number in range(options.rounds):
        for course in courses:
            with ExitStack() as others:
                for processes_ in {
                    id(c.processes): c.processes for c in courses if c.processes is not course.processes
                }.values():
                    others.enter_context(processes_.halted())
                for task in course.lane.tasks:
                    tell(f"round {number + 1}: {course.lane.name}, {task}")
                    found.append(await course.measure(task, sizes))
    return found


@asynccontextmanager
async def _ours(folder: Path, options: Options) -> AsyncIterator[list[Course]]:
    with NatsServer(folder / "nats") as nats, PostgresServer(folder / "postgres", trust=True) as postgres:
        url = postgres.create_database(DATABASE)
        await migrate.upgrade(url)
        await _streams(nats.url)
        engine = make_engine(PostgresSettings(url=url), name="bench")
        async with engine.begin() as conn:
            owners = [await make_user(conn) for _ in range(OWNERS)]
            places = [(owner, await make_collection(conn, owner=owner)) for owner in owners]
        files = [folder / f"ready-{number}" for number in range(options.processes)]
        workers = _workers(folder, nats.url, url, files)
        try:
            with running([workers]):

                async def ready() -> bool:
                    return all(file.exists() for file in files)

                await until(ready, within=READY_SECONDS)
                async with our_lanes(nats.url, url, places) as (alone, step):
                    yield [
                        Course(alone, workers, {"broker": nats.pid}),
                        Course(step, workers, {"broker": nats.pid, "database": postgres.pid}),
                    ]
        finally:
            await engine.dispose()


async def _streams(url: str) -> None:
    bus = await connect(NatsSettings(url=url), service="reconciler", instance="bench")
    await topology.apply(bus.js)
    await bus.close()


def _workers(folder: Path, nats_url: str, postgres_url: str, ready_files: list[Path]) -> Processes:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env = kept | {"APERAG_NATS__URL": nats_url, "APERAG_POSTGRES__URL": postgres_url}
    module = (sys.executable, "-m", "bench.dispatch.worker")
    return Processes("ours", [Command((*module, str(file)), env, ROOT) for file in ready_files], folder)
