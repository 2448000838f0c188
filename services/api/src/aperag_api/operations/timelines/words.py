"""Counts, spans of time and stages in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

    from aperag_api.operations.timelines.facts import StepFacts

MINUTE, HOUR, DAY = 60, 3600, 86_400


def span(time: timedelta) -> str:
    """As a person says it: two units at most, none smaller than matters."""
    seconds = max(time.total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return _two(seconds, MINUTE, "min", 1, "s")
    return _two(seconds, HOUR, "h", MINUTE, "min") if seconds < DAY else _two(seconds, DAY, "d", HOUR, "h")


def _two(seconds: float, unit: int, name: str, smaller: int, its_name: str) -> str:
    rest = int(seconds % unit // smaller)
    return f"{int(seconds // unit)} {name}" + (f" {rest} {its_name}" if rest else "")


def plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def ordinal(number: int) -> str:
    teens = number % 100 in {11, 12, 13}
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def doing(step: StepFacts) -> str:
    """The stage as an activity."""
    if step.removing:
        return "removing the document" if step.kind == "parse" else f"removing the {step.kind} index"
    return "parsing" if step.kind == "parse" else f"building the {step.kind} index"
