"""A flow that was tried, from the events of its run."""

from __future__ import annotations

import json
from typing import Any

from aperag_console.bots.steps import run_of


def line(kind: str, second: int, node: str | None = None, **data: Any) -> str:
    event = {"event_type": kind, "node_id": node, "node_type": node and "llm", "data": data}
    return "data: " + json.dumps({**event, "timestamp": f"2026-11-30T10:00:0{second}+00:00"})


def test_each_node_is_a_step_with_what_it_was_given_and_gave() -> None:
    run = run_of(
        [
            line("flow_start", 0),
            line("node_start", 0, "words", inputs={"query": "tea"}),
            ": still here",
            line("node_end", 1, "words", outputs={"docs": 2}, cached=True),
            line("node_start", 1, "llm", inputs={}),
            line("node_end", 4, "llm", outputs={"text": "hot"}),
            line("flow_end", 4),
            line("output_chunk", 4, "llm", chunk="ho"),
            line("output_chunk", 4, "llm", chunk="t"),
        ]
    )
    assert [(it.node, it.seconds, it.inputs, it.outputs, it.notes) for it in run.steps] == [
        ("words", 1.0, {"query": "tea"}, {"docs": 2}, {"cached": True}),
        ("llm", 3.0, {}, {"text": "hot"}, {}),
    ]
    assert (run.answer, run.error, run.seconds) == ("hot", "", 4.0)
    assert [(bar.x, bar.width) for bar in run.bars] == [(0.0, 250.0), (250.0, 750.0)]


def test_a_node_that_is_tried_again_is_one_step_and_its_last_end_counts() -> None:
    failed = [
        line("flow_start", 0),
        line("node_start", 0, "llm"),
        line("node_error", 1, "llm", error="busy", attempt=1),
    ]
    run = run_of([*failed, line("flow_error", 1, error="busy")])
    assert ([it.error for it in run.steps], run.error, run.bars[0].look) == (["busy"], "busy", "fails")
    run = run_of([*failed, line("node_start", 2, "llm"), line("node_end", 3, "llm", outputs={})])
    assert [(it.tries, it.error, it.seconds) for it in run.steps] == [(2, "", 3.0)]


def test_a_run_that_begins_anew_forgets_what_came_before() -> None:
    run = run_of([line("flow_start", 0), line("node_start", 0, "llm"), line("flow_start", 5), line("flow_end", 6)])
    assert (run.steps, run.seconds) == ([], 1.0)
