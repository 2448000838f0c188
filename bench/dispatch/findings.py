"""The figures of a dispatch run; README.md says what each of them means."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench.dispatch.lane import IN_FLIGHT
from bench.dispatch.task import Task
from bench.measure.samples import percentile
from bench.report.figures import Findings, Row, Section, Target, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.dispatch.lane import Measured

MILLI = 1000.0
BUS, STEP, CELERY = "ours, bus only", "ours, claim and fence", "celery"
TRACED = "traced"
PGQUEUER, PROCRASTINATE = "pgqueuer", "procrastinate"


def findings(measured: Sequence[Measured], processes: int) -> Findings:
    groups = _groups(measured)
    sections = [
        Section("CPU ms per task, all processes", [_cpu(g) for g in groups]),
        Section(f"tasks per second, {processes} worker processes", [_rates(g, processes) for g in groups]),
        Section("round trip, ms", [_trips(g) for g in groups]),
        Section("CPU ms per task by process, draining", [_by_process(g, _draining) for g in groups]),
        Section("CPU ms per task by process, accepting", [_by_process(g, _accepting) for g in groups]),
    ]
    return Findings(sections, _targets(groups))


def _groups(measured: Iterable[Measured]) -> list[list[Measured]]:
    """All rounds of one lane and task."""
    found: dict[tuple[str, Task], list[Measured]] = {}
    for one in measured:
        found.setdefault((one.lane, one.task), []).append(one)
    return list(found.values())


def _drain_rate(group: Sequence[Measured]) -> float:
    return median(m.tasks / m.drain_seconds for m in group)


def _alone_p50(group: Sequence[Measured]) -> float:
    return percentile([seconds for m in group for seconds in m.alone], 0.5) * MILLI


def _name(group: Sequence[Measured]) -> Row:
    return {"lane": group[0].lane, "task": group[0].task.value}


def _rates(group: Sequence[Measured], processes: int) -> Row:
    drained = sorted(m.tasks / m.drain_seconds for m in group)
    return {
        **_name(group),
        "enqueued": median(m.tasks / m.enqueue_seconds for m in group),
        "drained": median(drained),
        "per process": median(drained) / processes,
        "least": drained[0],
        "most": drained[-1],
    }


def _trips(group: Sequence[Measured]) -> Row:
    row = _name(group)
    alone = [seconds * MILLI for m in group for seconds in m.alone]
    together = [seconds * MILLI for m in group for seconds in m.together]
    for title, samples in (("1 caller", alone), (f"{IN_FLIGHT} callers", together)):
        row = {**row, f"{title} p50": percentile(samples, 0.5), f"{title} p99": percentile(samples, 0.99)}
    return row


def _cpu(group: Sequence[Measured]) -> Row:
    return {**_name(group), "drained": _drained_cpu(group), "with acceptance": _accepted_cpu(group)}


def _by_process(group: Sequence[Measured], spent: Callable[[Measured], Mapping[str, float]]) -> Row:
    return {**_name(group), **{p: median(spent(m)[p] / m.tasks * MILLI for m in group) for p in spent(group[0])}}


def _accepting(one: Measured) -> Mapping[str, float]:
    return one.enqueue_cpu_seconds


def _draining(one: Measured) -> Mapping[str, float]:
    return one.drain_cpu_seconds


def _drained_cpu(group: Sequence[Measured]) -> float:
    return median(sum(_draining(m).values()) / m.tasks * MILLI for m in group)


def _accepted_cpu(group: Sequence[Measured]) -> float:
    """From the first task enqueued to the last one ended."""
    return median(sum([*_accepting(m).values(), *_draining(m).values()]) / m.tasks * MILLI for m in group)


def _targets(groups: Sequence[Sequence[Measured]]) -> list[Target]:
    """Of the task that does nothing; none that needs a rival which did not run."""
    noops = {group[0].lane: group for group in groups if group[0].task is Task.NOOP}
    fenced = noops[STEP]
    return [
        at_most("claim and fence, drained: CPU ms per task", _drained_cpu(fenced), 0.7),
        at_most("claim and fence, with acceptance: CPU ms per task", _accepted_cpu(fenced), 1.7),
        *_against_celery(noops),
        *_against(noops, PGQUEUER, 3.5),
        *_against(noops, PROCRASTINATE, 1 / 3),
        at_most("claim and fence, idle round trip p50, ms", _alone_p50(fenced), 6),
    ]


def _against(noops: Mapping[str, Sequence[Measured]], rival: str, limit: float) -> list[Target]:
    if rival not in noops:
        return []
    times = _drained_cpu(noops[STEP]) / _drained_cpu(noops[rival])
    return [at_most(f"claim and fence, drained: CPU over {rival}'s", times, limit)]


def _against_celery(noops: Mapping[str, Sequence[Measured]]) -> list[Target]:
    """Against the better of its pools in each, untraced."""
    celery = [group for name, group in noops.items() if name.startswith(CELERY) and TRACED not in name]
    if not celery:
        return []
    cpu = min(_drained_cpu(group) for group in celery)
    rate = max(_drain_rate(group) for group in celery)
    trip = min(_alone_p50(group) for group in celery)
    bus, fenced = noops[BUS], noops[STEP]
    return [
        at_most("claim and fence, drained: CPU over Celery's", _drained_cpu(fenced) / cpu, 0.5),
        at_least("claim and fence, times Celery's tasks per second", _drain_rate(fenced) / rate, 2),
        at_least("bus only, times Celery's tasks per second", _drain_rate(bus) / rate, 3),
        at_most("claim and fence, idle round trip p50 over Celery's", _alone_p50(fenced) / trip, 2.5),
    ]
