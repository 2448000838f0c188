"""Timelines and traces as bars."""

from __future__ import annotations

from typing import Any

import pytest

from aperag_console.documents.timeline import waterfall_of
from aperag_console.traces.tree import rows_of
from aperag_console.web.texts import texts
from aperag_console.web.waterfall import FULL, THINNEST, Scale

DAY = "2026-01-01T00:00:"


def stage(action: str, kind: str, requested: str, started: str | None, ended: str | None, state: str) -> dict[str, Any]:
    times = {"requested": requested, "started": started, "ended": ended}
    return {"action": action, "kind": kind, "state": state, **{k: v and f"{DAY}{v}Z" for k, v in times.items()}}


def test_waiting_in_the_queue_stands_apart_from_work() -> None:
    stages = [
        stage("parse", "parse", "00", "02", "03", "ACTIVE"),
        stage("build", "vector", "00", "05", None, "CREATING"),
        stage("build", "fulltext", "00", None, None, "PENDING"),
    ]
    parse, vector, fulltext = waterfall_of({"stages": stages, "read_at": f"{DAY}10Z"}, texts("en"))
    assert (parse.waited, parse.worked) == (2, 1)
    # An index can only be built from what was parsed: its own wait begins there.
    assert (vector.waited, vector.worked) == (2, 5)
    assert (fulltext.waited, fulltext.worked) == (7, None)
    assert [bar.look for bar in vector.bars] == ["waits", "works"]
    assert vector.bars[1].x == FULL / 2
    assert vector.name == "Vector index"


def test_a_failed_stage_looks_failed_and_no_stage_is_no_bar() -> None:
    (row,) = waterfall_of(
        {"stages": [stage("parse", "parse", "00", "01", "02", "FAILED")], "read_at": f"{DAY}10Z"}, texts("en")
    )
    assert row.bars[-1].look == "fails"
    assert waterfall_of({"stages": [], "read_at": f"{DAY}10Z"}, texts("en")) == []


@pytest.mark.parametrize(("start", "end"), [(0, 0), (10, 10), (0, 10), (9.999, 10)])
def test_every_bar_is_seen_and_within_the_drawing(start: float, end: float) -> None:
    bar = Scale(0, 10).bar("works", start, end)
    assert bar.width >= THINNEST - 0.1
    assert bar.x >= 0
    assert bar.x + bar.width <= FULL + 0.1


def span(name: str, parent: str | None, start: int, end: int, **more: Any) -> dict[str, Any]:
    empty = {"kind": "internal", "status": "unset", "attributes": {}, "service": "api"}
    return {**empty, "span_id": name, "name": name, "parent_id": parent, "start": start, "end": end, **more}


def test_a_span_stands_below_what_caused_it() -> None:
    spans = [
        span("root", None, 0, 100, kind="server"),
        span("late", "root", 60, 90),
        span("early", "root", 10, 50),
        span("inner", "early", 20, 30, status="error"),
        span("orphan", "elsewhere", 95, 99),
        span("sql", "root", 1, 2, attributes={"db.operation": "SELECT"}),
    ]
    rows = rows_of(spans, queries=False)
    assert [(row.span["name"], row.depth) for row in rows] == [
        ("root", 0), ("early", 1), ("inner", 2), ("late", 1), ("orphan", 0),
    ]  # fmt: skip
    assert rows[2].failed
    assert len(rows_of(spans, queries=True)) == 6
    assert rows_of([], queries=True) == []
