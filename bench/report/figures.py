"""A report: tables of figures, and the targets that some of them are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.report.machine import Machine

Value = str | int | float | None
Row = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Section:
    """One table; its columns are the keys of its rows, in the order they first appear."""

    title: str
    rows: Sequence[Row]

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.rows for column in row))


@dataclass(frozen=True, slots=True)
class Target:
    """Reached when ``value`` is ``limit`` or beyond it on the good side."""

    name: str
    value: float
    limit: float
    at_most: bool

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit


def at_most(name: str, value: float, limit: float) -> Target:
    return Target(name, value, limit, at_most=True)


def at_least(name: str, value: float, limit: float) -> Target:
    return Target(name, value, limit, at_most=False)


@dataclass(frozen=True, slots=True)
class Findings:
    """What one benchmark measured. ``summary`` stands at the top of the JSON; ``failed`` makes the command fail."""

    sections: Sequence[Section]
    targets: Sequence[Target] = ()
    summary: Row = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Findings, and what must be known to compare them with others."""

    benchmark: str
    command: str
    machine: Machine
    findings: Findings
