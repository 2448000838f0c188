"""``bench stream``: from an agent's word to the reader's, and how much of it the gateway carries."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.celery.redis import RedisServer
from bench.harness.database import database
from bench.harness.stack import running_stack
from bench.report.figures import Findings, Row, Section, Target, at_most
from bench.stream.load import Load
from bench.stream.ways import Channels, Queues, Subjects, attempt, server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from bench.stream.ways import Trial, Way

TARGET_MS = 20.0
QUICK, MANY = (100, 50.0), (500, 2.0)
STEP_TURNS = 25
GATEWAYS = ("api", "api-2")
WARM_UP = Load(20, 20.0, 3.0)


@dataclass(frozen=True, slots=True)
class Options:
    """``seconds`` is how long each load lasts."""

    seconds: float
    redis: bool
    knee: bool


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    tell("starting a stack")
    with running_stack("--gateways", "2", settings={"APERAG_TURNS__MAX_OPEN": "10000"}) as stack:
        async with database(stack) as engine, AsyncExitStack() as rivals:
            ours = [Subjects(stack, engine, GATEWAYS[:1]), Subjects(stack, engine, GATEWAYS)]
            ways: list[Way] = [*ours, Queues(*await rivals.enter_async_context(server("queue")))]
            if options.redis:
                ways.append(await rivals.enter_async_context(_redis()))
            for way in ways:
                await attempt(way, WARM_UP)
            rows: list[Row] = []
            targets: list[Target] = []
            for turns, rate in (QUICK, MANY):
                load = Load(turns, rate, options.seconds)
                for way in ways:
                    tell(f"{turns} turns × {rate:.0f}/s: {way.name}")
                    trial = await attempt(way, load)
                    rows.append(_row(way.name, trial))
                    if way in ours:
                        targets += _targets(way.name, trial, quick=(turns, rate) == QUICK)
            sections = [Section("latency", rows)]
            if options.knee:
                sections.append(Section("knee at 50/s", [await _knee(way, options.seconds, tell) for way in ways]))
    return Findings(sections, targets)


def _targets(name: str, trial: Trial, *, quick: bool) -> Sequence[Target]:
    load = trial.load
    what = f"{name}: {load.turns} turns × {load.rate:.0f}/s"
    lost = at_most(f"{what}: turns that are not whole", load.turns - trial.whole, 0)
    return [at_most(f"{what}: p99 ms", trial.p99, TARGET_MS), lost] if quick else [lost]


async def _knee(way: Way, seconds: float, tell: Callable[[str], None]) -> Row:
    """The most turns that stay below the target and whole; the next step does not."""
    best: Trial | None = None
    turns = STEP_TURNS
    while True:
        tell(f"knee of {way.name}: {turns} turns × {QUICK[1]:.0f}/s")
        trial = await attempt(way, Load(turns, QUICK[1], seconds))
        if trial.p99 > TARGET_MS or trial.whole < turns:
            return _knee_row(way.name, best, trial)
        best = trial
        turns += STEP_TURNS


def _knee_row(name: str, best: Trial | None, beyond: Trial) -> Row:
    return {
        "way": name,
        "turns": 0 if best is None else best.load.turns,
        "events/s": 0 if best is None else best.load.turns * best.load.rate,
        "p99 ms": None if best is None else best.p99,
        "beyond: turns": beyond.load.turns,
        "beyond: p99 ms": beyond.p99,
        "beyond: not whole": beyond.load.turns - beyond.whole,
    }


def _row(name: str, trial: Trial) -> Row:
    load = trial.load
    return {
        "way": name,
        "turns": load.turns,
        "events/s": load.turns * load.rate,
        "p50 ms": trial.p50,
        "p99 ms": trial.p99,
        "max ms": trial.max,
        "not whole": load.turns - trial.whole,
        "lost": load.turns * load.events - trial.heard,
        "cores": trial.cpu_share,
    }


@asynccontextmanager
async def _redis() -> AsyncIterator[Way]:
    with tempfile.TemporaryDirectory(prefix="aperag-bench-redis-") as folder:
        redis = RedisServer(Path(folder))
        redis.start()
        try:
            url = redis.database(0)
            async with server("redis", url) as (process, port):
                yield Channels(process, port, url, redis.pid)
        finally:
            redis.stop()
