"""The figures of a dispatch run, from times and CPU that were made up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from bench.dispatch import rivals
from bench.dispatch.findings import findings
from bench.dispatch.lane import Measured
from bench.dispatch.order import Order, make_order
from bench.dispatch.rivals import Rival, named
from bench.dispatch.task import Task
from bench.errors import BenchError
from bench.report.figures import Row


def measured(lane: str, drain: float, trip: float, task: Task = Task.NOOP) -> Measured:
    """Draining takes 1.5 times its seconds of CPU, accepting one second."""
    accepting = {"workers": 0.0, "broker": 0.4, "caller": 0.6}
    draining = {"workers": drain, "broker": drain / 2, "caller": 0.0}
    return Measured(lane, task, 100, 2.0, drain, accepting, draining, [trip] * 3, [2 * trip] * 3)


OURS = [measured("ours, bus only", 1.0, 0.002), measured("ours, claim and fence", 4.0, 0.008)]
PGQUEUER, PROCRASTINATE = measured("pgqueuer", 2.0, 0.1), measured("procrastinate", 16.0, 0.01)
CELERY = [
    measured("celery, threads", 10.0, 0.004),
    measured("celery, prefork", 8.0, 0.005),
    measured("celery, threads, traced", 1.0, 0.001),
]


def rows(title: str, measurements: list[Measured]) -> Sequence[Row]:
    return next(section.rows for section in findings(measurements, 2).sections if section.title.startswith(title))


def targets(measurements: list[Measured]) -> dict[str, float]:
    return {target.name: target.value for target in findings(measurements, 2).targets}


def test_the_middle_of_all_rounds_is_told() -> None:
    rounds = [measured("ours, claim and fence", seconds, 0.002) for seconds in (1.0, 4.0, 2.0)]
    (row,) = rows("tasks per second", rounds)
    assert row["drained"] == pytest.approx(50)
    assert row["per process"] == pytest.approx(25)
    assert [row["least"], row["most"]] == pytest.approx([25, 100])


def test_lanes_and_tasks_are_told_apart() -> None:
    both = [OURS[1], measured("ours, claim and fence", 1.0, 0.02, Task.WAIT)]
    assert [row["task"] for row in rows("round trip", both)] == ["noop", "wait"]


def test_cpu_of_all_processes_comes_first() -> None:
    headline = findings(OURS, 2).sections[0]
    assert headline.title == "CPU ms per task, all processes"
    assert headline.rows[1]["drained"] == pytest.approx(60.0)
    assert headline.rows[1]["with acceptance"] == pytest.approx(70.0)


def test_cpu_is_told_per_task_and_process() -> None:
    (draining, _) = rows("CPU ms per task by process, draining", OURS)
    assert [draining["workers"], draining["broker"]] == pytest.approx([10.0, 5.0])
    (accepting, _) = rows("CPU ms per task by process, accepting", OURS)
    assert [accepting["broker"], accepting["caller"]] == pytest.approx([4.0, 6.0])


def test_targets_are_held_against_the_better_of_celerys_pools_untraced() -> None:
    values = targets([*OURS, *CELERY])
    assert values["claim and fence, drained: CPU over Celery's"] == pytest.approx(0.5)
    assert values["claim and fence, times Celery's tasks per second"] == pytest.approx(2.0)
    assert values["bus only, times Celery's tasks per second"] == pytest.approx(8.0)
    assert values["claim and fence, idle round trip p50 over Celery's"] == pytest.approx(2.0)


def test_each_queue_on_postgresql_has_its_target() -> None:
    values = targets([*OURS, PGQUEUER, PROCRASTINATE])
    assert values["claim and fence, drained: CPU over pgqueuer's"] == pytest.approx(2.0)
    assert values["claim and fence, drained: CPU over procrastinate's"] == pytest.approx(0.25)


@pytest.mark.parametrize(("ran", "missing"), [([PGQUEUER], "procrastinate"), ([PROCRASTINATE], "Celery"), ([], "over")])
def test_what_did_not_run_has_no_target(ran: list[Measured], missing: str) -> None:
    assert not [name for name in targets([*OURS, *ran]) if missing in name]


def test_without_any_rival_the_absolute_targets_remain() -> None:
    assert list(targets(OURS).values()) == [pytest.approx(60.0), pytest.approx(70.0), pytest.approx(8.0)]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], []),
        (["celery"], [Rival.CELERY]),
        (["procrastinate, celery"], [Rival.CELERY, Rival.PROCRASTINATE]),
        (["pgqueuer", "celery,pgqueuer"], [Rival.CELERY, Rival.PGQUEUER]),
        (["all"], list(Rival)),
    ],
)
def test_rivals_are_named_one_by_one_in_a_list_or_together(words: list[str], wanted: list[Rival]) -> None:
    assert named(words) == wanted


def test_an_unknown_rival_is_refused() -> None:
    with pytest.raises(ValueError, match="rabbit"):
        named(["celery,rabbit"])


@pytest.mark.parametrize("rival", [Rival.PGQUEUER, Rival.PROCRASTINATE])
def test_a_rival_that_is_not_installed_is_named_with_what_installs_it(
    rival: Rival, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "find_spec", lambda _: None)
    with pytest.raises(BenchError, match=f"{rival} is not installed") as refused:
        rivals.require([rival])
    assert f"--vs {rival}" in refused.value.hint


def test_an_order_survives_its_way_over_the_bus() -> None:
    order = make_order(7, Task.WAIT)
    assert Order.model_validate_json(order.encode()) == order
