"""A report for people and for programs."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from bench.report import render
from bench.report.figures import Findings, Report, Section, at_least, at_most
from bench.report.machine import this_machine
from rich.console import Console

FINDINGS = Findings(
    [Section("rates", [{"what": "POST", "p50": 12.3456789}, {"what": "search", "per second": 250.0}])],
    [at_most("p50", 12.3, 10), at_least("per second", 250, 250)],
)


def shown(output: render.Output) -> str:
    console = Console(file=StringIO(), width=120)
    render.show(console, Report("ingest", "python -m bench ingest", this_machine(), FINDINGS), output)
    stream = console.file
    assert isinstance(stream, StringIO)
    return stream.getvalue()


def test_json_holds_every_figure_and_what_it_was_measured_on() -> None:
    told = json.loads(shown(render.Output.JSON))
    assert told["sections"] == {
        "rates": [{"what": "POST", "p50": 12.3457}, {"what": "search", "per second": 250.0}],
    }
    assert [(target["name"], target["met"]) for target in told["targets"]] == [("p50", False), ("per second", True)]
    assert told["command"] == "python -m bench ingest"
    assert told["machine"]["cores"] >= 1


def test_a_table_leaves_out_what_a_row_has_not() -> None:
    lines = shown(render.Output.TABLE).splitlines()
    (post,) = (line for line in lines if "POST" in line)
    assert [cell.strip() for cell in post.strip("│").split("│")] == ["POST", "12.3", "–"]
    assert any("missed" in line for line in lines)
    assert any("met" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "–"), ("text", "text"), (7, "7"), (0.12345, "0.123"), (12.345, "12.3"), (1234.5, "1234"), (-250.2, "-250")],
)
def test_a_figure_has_the_digits_that_mean_something(value: str | float | None, written: str) -> None:
    assert render.written(value) == written


@pytest.mark.parametrize(("value", "met"), [(9.9, True), (10.0, True), (10.1, False)])
def test_a_target_includes_its_limit(value: float, met: bool) -> None:  # noqa: FBT001  a table's column
    assert at_most("p50", value, 10).met is met
    assert at_least("p50", -value, -10).met is met


def test_a_summary_stands_at_the_top_of_the_json() -> None:
    found = Findings([], summary={"docs": 5, "seconds": 1.23456})
    told = render.as_json(Report("chaos", "python -m bench chaos", this_machine(), found))
    assert (told["docs"], told["seconds"]) == (5, 1.2346)
