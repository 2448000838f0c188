"""Both halves of the comparisons with other queues, as small as they can be; theirs where they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bench.celery.app import installed

ROOT = Path(__file__).parents[3]
DISPATCH = "dispatch --tasks 20 --trips 8 --processes 1 --rounds 1 -o json"
PIPELINE = "pipeline --corpus generated --documents 6 -o json"
WITH_CELERY = pytest.mark.skipif(not installed(), reason="Celery is not installed: it comes with bench --vs celery")
ON_POSTGRES = ("pgqueuer", "procrastinate")
WITH_QUEUES = pytest.mark.skipif(
    not all(map(find_spec, ON_POSTGRES)), reason="these queues are not installed: they come with bench --vs all"
)


def bench(command: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *command.split()],
        cwd=ROOT,
        env=os.environ,  # noqa: TID251  the caller's own settings
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def rows(report: dict[str, Any], title: str) -> list[dict[str, Any]]:
    return next(found for name, found in report["sections"].items() if name.startswith(title))


@pytest.mark.timeout(300)
@pytest.mark.long
def test_dispatch_measures_both_of_our_lanes_and_both_tasks() -> None:
    report = bench(DISPATCH)
    rates = rows(report, "tasks per second")
    lanes = {(row["lane"], row["task"]) for row in rates}
    assert lanes == {(f"ours, {lane}", task) for lane in ("bus only", "claim and fence") for task in ("noop", "wait")}
    assert all(row["enqueued"] > 0 and row["drained"] > 0 for row in rates)
    assert all(row["1 caller p50"] >= 20 for row in rows(report, "round trip") if row["task"] == "wait")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_pipeline_indexes_every_document_also_where_a_worker_is_killed() -> None:
    report = bench(PIPELINE)
    (ours,) = rows(report, "documents")
    assert (ours["documents"], ours["indexed"]) == (6, 6)
    (recovery,) = rows(report, "after kill -9")
    assert recovery["not indexed by then"] == 0


@WITH_CELERY
@pytest.mark.timeout(300)
def test_dispatch_measures_celery_in_the_same_run() -> None:
    rates = rows(bench(f"{DISPATCH} --vs celery"), "tasks per second")
    assert {row["lane"] for row in rates} >= {"celery, threads", "celery, prefork", "celery, threads, traced"}
    assert all(row["drained"] > 0 for row in rates)


@WITH_QUEUES
@pytest.mark.timeout(300)
def test_dispatch_measures_the_queues_on_postgresql_in_the_same_run() -> None:
    report = bench(f"{DISPATCH} --vs {','.join(ON_POSTGRES)}")
    rates = [row for row in rows(report, "tasks per second") if row["lane"] in ON_POSTGRES]
    assert {(row["lane"], row["task"]) for row in rates} == {
        (q, task) for q in ON_POSTGRES for task in ("noop", "wait")
    }
    assert all(row["enqueued"] > 0 and row["drained"] > 0 for row in rates)
    assert all(row["1 caller p50"] >= 20 for row in rows(report, "round trip") if row["task"] == "wait")


@WITH_CELERY
@pytest.mark.timeout(400)
def test_the_baseline_indexes_every_document() -> None:
    report = bench(f"{PIPELINE} --vs celery --cap 1")
    _, celery = rows(report, "documents")
    assert (celery["documents"], celery["indexed"]) == (6, 6)


@pytest.mark.skipif(installed(), reason="Celery is installed here")
def test_without_celery_the_way_to_it_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "dispatch", "--vs", "celery"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "./justw bench" in done.stderr
