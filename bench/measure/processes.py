"""CPU and memory of a stack's processes, by what they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

from aperag_testing.stack import Stack

SUPERVISOR = "supervisor"
POSTGRES = "postgres"
POOL = "pool"
"""Every process that a service of ours started: parsing and embedding."""
MEGA = 1e6


@dataclass(frozen=True, slots=True)
class StackProcesses:
    """Names are those of ``aperag status``; replicas count as one. PostgreSQL includes its backends."""

    stack: Stack

    def cpu_seconds(self) -> dict[str, float]:
        """Spent so far, user and system, by those that live and those that they have outlived."""
        spent: dict[str, float] = defaultdict(float)
        for unit, process in self._processes():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent[_name(unit, process)] += times.user + times.system
                spent[_name(unit, None)] += times.children_user + times.children_system
        return dict(spent)

    def pss_mb(self) -> dict[str, float] | None:
        """Proportional set size: shared pages are divided by those who share them. None where no kernel tells it."""
        sizes: dict[str, float] = defaultdict(float)
        for unit, process in self._processes():
            with suppress(psutil.NoSuchProcess):
                size = getattr(process.memory_full_info(), "pss", None)
                if size is None:
                    return None
                sizes[_name(unit, process)] += size / MEGA
        return dict(sizes)

    def _processes(self) -> Iterator[tuple[_Unit, psutil.Process]]:
        state = self.stack.state()
        supervisor = _Unit(SUPERVISOR, int(state["pid"]))
        yield supervisor, psutil.Process(supervisor.pid)
        for row in state["units"]:
            if row["pid"] is None:
                continue
            unit = _Unit(row["name"].partition("-")[0], int(row["pid"]))
            with suppress(psutil.NoSuchProcess):
                leader = psutil.Process(unit.pid)
                for process in (leader, *leader.children(recursive=True)):
                    yield unit, process


def cpu_between(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: seconds - before.get(name, 0.0) for name, seconds in after.items()}


def own_cpu_seconds() -> dict[str, float]:
    """Of this process, and of those that it started."""
    this = psutil.Process()
    times = this.cpu_times()
    own = times.user + times.system
    return {"main": own, POOL: tree_cpu_seconds(this.pid) - own}


def tree_cpu_seconds(pid: int) -> float:
    """Of this process and all below it, those that have ended included; 0 where it is gone."""
    spent = 0.0
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent += times.user + times.system + times.children_user + times.children_system
    return spent


@dataclass(frozen=True, slots=True)
class _Unit:
    name: str
    pid: int


def _name(unit: _Unit, process: psutil.Process | None) -> str:
    """Of a process of ``unit``; None stands for one that has ended."""
    alone = unit.name in {SUPERVISOR, POSTGRES}
    leads = process is not None and process.pid == unit.pid
    return unit.name if alone or leads else POOL
