"""A report as tables for people, or as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bench.report.figures import Report, Section, Target, Value

DECIMALS = 4


class Output(StrEnum):
    """For people or for programs."""

    TABLE = "table"
    JSON = "json"


def show(console: Console, report: Report, output: Output) -> None:
    if output is Output.JSON:
        console.print_json(json.dumps(as_json(report), ensure_ascii=False))
        return
    machine = report.machine
    console.print(f"[bold]{report.benchmark}[/]  {machine.date}  load before {machine.load}")
    console.print(f"{machine.cores} × {machine.cpu}, {machine.memory_gb:.0f} GB, {machine.system}, {machine.python}")
    console.print(report.command, markup=False, highlight=False)
    for section in report.findings.sections:
        console.print(_table(section))
    if report.findings.targets:
        console.print(_targets(report.findings.targets))


def as_json(report: Report) -> dict[str, Any]:
    return {
        "benchmark": report.benchmark,
        "command": report.command,
        "machine": asdict(report.machine),
        **{name: _rounded(value) for name, value in report.findings.summary.items()},
        "sections": {
            section.title: [{name: _rounded(value) for name, value in row.items()} for row in section.rows]
            for section in report.findings.sections
        },
        "targets": [
            {**asdict(target), "value": _rounded(target.value), "met": target.met} for target in report.findings.targets
        ],
    }


def written(value: Value) -> str:
    """As many digits as mean something."""
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _rounded(value: Value) -> Value:
    return round(value, DECIMALS) if isinstance(value, float) else value


def _table(section: Section) -> Table:
    table = Table(title=section.title, title_justify="left")
    for number, column in enumerate(section.columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in section.rows:
        table.add_row(*(written(row.get(column)) for column in section.columns))
    return table


def _targets(targets: Sequence[Target]) -> Table:
    table = Table(title="targets", title_justify="left")
    for column in ("what", "measured", "target", ""):
        table.add_column(column, justify="left" if column == "what" else "right")
    for target in targets:
        sign = "≤" if target.at_most else "≥"
        verdict = "[green]met[/]" if target.met else "[red]missed[/]"
        table.add_row(target.name, written(target.value), f"{sign} {written(target.limit)}", verdict)
    return table
