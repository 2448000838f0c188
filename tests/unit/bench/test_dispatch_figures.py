"""The figures of a dispatch run, from times and CPU that were made up."""

from __future__ import annotations

import pytest
from bench.dispatch.findings import findings
from bench.dispatch.lane import Measured
from bench.dispatch.order import Order, make_order
from bench.dispatch.task import Task


def measured(lane: str, drain: float, trip: float, task: Task = Task.NOOP) -> Measured:
    cpu = {"workers": drain, "broker": drain / 2, "caller": 0.0}
    return Measured(lane, task, 100, 2.0, drain, cpu, [trip] * 3, [2 * trip] * 3)


OURS = [measured("ours, bus only", 1.0, 0.002), measured("ours, claim and fence", 4.0, 0.008)]
CELERY = [
    measured("celery, threads", 10.0, 0.004),
    measured("celery, prefork", 8.0, 0.005),
    measured("celery, threads, traced", 1.0, 0.001),
]


def test_the_middle_of_all_rounds_is_told() -> None:
    rounds = [measured("ours, bus only", seconds, 0.002) for seconds in (1.0, 4.0, 2.0)]
    (row,) = findings(rounds, 2).sections[0].rows
    assert row["drained"] == pytest.approx(50)
    assert row["per process"] == pytest.approx(25)
    assert (row["least"], row["most"]) == (pytest.approx(25), pytest.approx(100))


def test_lanes_and_tasks_are_told_apart() -> None:
    both = [measured("ours, bus only", 1.0, 0.002), measured("ours, bus only", 1.0, 0.02, Task.WAIT)]
    assert [row["task"] for row in findings(both, 2).sections[1].rows] == ["noop", "wait"]


def test_targets_are_held_against_the_faster_of_celerys_pools_untraced() -> None:
    values = [target.value for target in findings([*OURS, *CELERY], 2).targets]
    assert values == [pytest.approx(8.0), pytest.approx(2.0), pytest.approx(0.5), pytest.approx(2.0)]


def test_without_celery_there_is_no_target() -> None:
    assert not findings(OURS, 2).targets


def test_cpu_is_told_per_task() -> None:
    (row, _) = findings(OURS, 2).sections[2].rows
    assert row["workers"] == pytest.approx(10.0)
    assert row["broker"] == pytest.approx(5.0)


def test_an_order_survives_its_way_over_the_bus() -> None:
    order = make_order(7, Task.WAIT)
    assert Order.model_validate_json(order.encode()) == order
