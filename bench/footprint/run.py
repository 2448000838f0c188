"""``bench footprint``: how long a start takes, and what the stack costs while it rests."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_testing.client import Client
from bench.harness.stack import empty_stack, start
from bench.ingest.idle import one_at_a_time
from bench.measure.processes import StackProcesses, cpu_between
from bench.report.figures import Findings, Row, Section, Target, at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aperag_testing.stack import Stack

POOL_IDLE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Options:
    """Seconds: of quiet before anything is measured, and of the look at the CPU."""

    settle: int
    watch: int


@dataclass(frozen=True, slots=True)
class Rest:
    """By process: memory, and the share of one core that it used."""

    pss_mb: dict[str, float] | None
    cpu_percent: dict[str, float]


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    # The pool's processes would otherwise keep the encoder for half an hour after the last document.
    with empty_stack({"APERAG_POOL__IDLE": f"PT{POOL_IDLE_SECONDS}S"}) as stack:
        tell("starting a stack for the first time")
        cold = _ready(stack)
        stack.down()
        tell("starting it again")
        warm = _ready(stack)
        tell(f"{options.settle + options.watch} s of rest after the start")
        fresh = await _rest(stack, options)
        tell(f"one document, one search, and {options.settle + options.watch} s of rest")
        async with Client(stack.url, stack.api_key) as client:
            await one_at_a_time(client, 1)
        used = await _rest(stack, options)
    starts: list[Row] = [{"start": "first (keys, database, schema)", "s": cold}, {"start": "later", "s": warm}]
    sections = [
        Section("seconds until every process is ready", starts),
        Section("at rest, PSS in MB", _columns(fresh.pss_mb, used.pss_mb)),
        Section("at rest, CPU in % of a core", _columns(fresh.cpu_percent, used.cpu_percent)),
    ]
    return Findings(sections, _targets(warm, used))


def _ready(stack: Stack) -> float:
    """From the command to its return, the command line's own start included."""
    begun = time.perf_counter()
    start(stack)
    return time.perf_counter() - begun


async def _rest(stack: Stack, options: Options) -> Rest:
    await asyncio.sleep(options.settle)
    processes = StackProcesses(stack)
    before, begun = processes.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(options.watch)
    spent, seconds = cpu_between(before, processes.cpu_seconds()), time.perf_counter() - begun
    return Rest(processes.pss_mb(), {name: used / seconds * 100 for name, used in spent.items()})


def _columns(fresh: dict[str, float] | None, used: dict[str, float] | None) -> Sequence[Row]:
    if fresh is None or used is None:
        return [{"process": "this system does not tell it"}]
    rows: list[Row] = [
        {"process": name, "after the start": fresh.get(name), "after use": used.get(name)}
        for name in sorted(fresh | used)
    ]
    return [*rows, {"process": "sum", "after the start": sum(fresh.values()), "after use": sum(used.values())}]


def _targets(warm: float, used: Rest) -> list[Target]:
    found = [at_most("later start, s", warm, 8)]
    if used.pss_mb is not None:
        found.append(at_most("PSS of the whole stack at rest after use, MB", sum(used.pss_mb.values()), 900))
    return found
