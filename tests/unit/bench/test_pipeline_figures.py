"""The figures of a pipeline run, from times and CPU that were made up."""

from __future__ import annotations

import pytest
from bench.ingest.pure import Pure
from bench.pipeline.findings import Ran, Recovery, findings, orchestration

PURE = Pure(seconds=5.0, chunks=20, cpu_seconds={"main": 0.1, "pool": 0.8, "postgres": 0.1})
OURS = Ran("ours", 10, 10, 1.0, 5.0, {"indexer": 0.3, "pool": 0.8, "postgres": 0.2, "caller": 0.1})
CELERY = Ran("celery", 10, 10, 1.0, 5.0, {"workers": 1.5, "postgres": 0.2, "caller": 0.1})
RECOVERIES = [Recovery("ours", 5, 2.5, 4.0, 0), Recovery("celery", 5, 2.5, None, 3)]


def test_orchestration_is_all_cpu_less_that_of_the_work_itself() -> None:
    assert orchestration(OURS, PURE) == pytest.approx((1.4 - 1.0) / 10)
    assert orchestration(CELERY, PURE) == pytest.approx((1.8 - 1.0) / 10)


def test_the_target_compares_both_sides() -> None:
    (target,) = findings("x", PURE, [OURS, CELERY], RECOVERIES).targets
    assert target.value == pytest.approx(0.5)
    assert target.limit == 0.5


def test_without_celery_there_is_no_target() -> None:
    assert not findings("x", PURE, [OURS], RECOVERIES[:1]).targets


def test_every_process_has_its_row_and_the_sum_comes_last() -> None:
    rows = findings("x", PURE, [OURS, CELERY], RECOVERIES).sections[1].rows
    assert {row["process"] for row in rows} == {"main", "pool", "postgres", "indexer", "caller", "workers", "sum"}
    assert rows[-1] == {
        "process": "sum",
        "without services": pytest.approx(100),
        "ours": pytest.approx(140),
        "celery": pytest.approx(180),
    }


def test_what_was_not_indexed_before_the_cap_is_said() -> None:
    ours, celery = findings("x", PURE, [OURS, CELERY], RECOVERIES).sections[2].rows
    assert ours["all indexed after, s"] == 4.0
    assert celery["all indexed after, s"] == "> cap"
    assert celery["not indexed by then"] == 3
