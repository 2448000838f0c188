"""From a document's timeline to the bars of a waterfall: how long each stage waited, and how long it worked; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aperag_console.web.waterfall import Bar, Scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_console.web.texts import Texts

FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Row:
    """``waited`` and ``worked`` in seconds; None where it has not come to that."""

    stage: Mapping[str, Any]
    name: str
    bars: list[Bar]
    waited: float | None
    worked: float | None


def waterfall_of(timeline: Mapping[str, Any], texts: Texts) -> list[Row]:
    stages = timeline["stages"]
    if not stages:
        return []
    now = _seconds(timeline["read_at"])
    begun = [_seconds(it["requested"]) for it in stages if it["requested"]]
    ends = [_seconds(it["ended"]) if it["ended"] else now for it in stages]
    scale = Scale(min(begun, default=now), max(ends, default=now))
    # An index is built from what was parsed: its own wait begins there.
    parsed = next((_seconds(it["ended"]) for it in stages if it["action"] == "parse" and it["ended"]), None)
    return [_row(stage, scale, now, parsed, texts) for stage in stages]


def _row(stage: Mapping[str, Any], scale: Scale, now: float, parsed: float | None, texts: Texts) -> Row:
    name = texts.known("stage", f"{stage['action']}_{stage['kind']}")
    requested = _seconds(stage["requested"]) if stage["requested"] else scale.start
    if stage["action"] != "parse" and parsed is not None:
        requested = max(requested, parsed)
    started = _seconds(stage["started"]) if stage["started"] else None
    ended = _seconds(stage["ended"]) if stage["ended"] else now
    waits = max((started if started is not None else ended) - requested, 0)
    bars = [scale.bar("waits", requested, requested + waits)] if waits else []
    if started is not None:
        bars.append(scale.bar("fails" if stage["state"] == FAILED else "works", started, max(ended, started)))
    return Row(stage, name, bars, waits, None if started is None else max(ended - started, 0))


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
