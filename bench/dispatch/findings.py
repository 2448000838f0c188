"""The figures of a dispatch run; README.md says what each of them means."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench.dispatch.lane import IN_FLIGHT
from bench.dispatch.task import Task
from bench.measure.samples import percentile
from bench.report.figures import Findings, Row, Section, Target, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.dispatch.lane import Measured

MILLI = 1000.0
BUS, STEP, CELERY = "ours, bus only", "ours, claim and fence", "celery"
TRACED = "traced"


def findings(measured: Sequence[Measured], processes: int) -> Findings:
    groups = _groups(measured)
    sections = [
        Section(f"tasks per second, {processes} worker processes", [_rates(g, processes) for g in groups]),
        Section("round trip, ms", [_trips(g) for g in groups]),
        Section("CPU ms per task while draining", [_cpu(g) for g in groups]),
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
    names = group[0].cpu_seconds
    return {**_name(group), **{n: median(m.cpu_seconds[n] / m.tasks * MILLI for m in group) for n in names}}


def _targets(groups: Sequence[Sequence[Measured]]) -> list[Target]:
    """Against the faster of Celery's pools, untraced; none where Celery did not run."""
    noops = {group[0].lane: group for group in groups if group[0].task is Task.NOOP}
    celery = [group for name, group in noops.items() if name.startswith(CELERY) and TRACED not in name]
    if not celery:
        return []
    rate = max(_drain_rate(group) for group in celery)
    trip = min(_alone_p50(group) for group in celery)
    return [
        at_least("bus only, times Celery's tasks per second and process", _drain_rate(noops[BUS]) / rate, 8),
        at_least("claim and fence, times Celery's tasks per second and process", _drain_rate(noops[STEP]) / rate, 3),
        at_most("bus only, idle round trip p50 over Celery's", _alone_p50(noops[BUS]) / trip, 1),
        at_most("claim and fence, idle round trip p50 over Celery's", _alone_p50(noops[STEP]) / trip, 1),
    ]
