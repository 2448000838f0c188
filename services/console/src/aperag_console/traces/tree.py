"""From the spans of a trace to the rows of a waterfall, each below what caused it; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_console.web.waterfall import Bar, Scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NANO = 1e9
DEEPEST = 12
"""Rows are indented so far and no further."""


@dataclass(frozen=True, slots=True)
class Row:
    span: Mapping[str, Any]
    depth: int
    bar: Bar

    @property
    def seconds(self) -> float:
        return float(self.span["end"] - self.span["start"]) / NANO

    @property
    def failed(self) -> bool:
        return bool(self.span["status"] == "error")


def rows_of(spans: Sequence[Mapping[str, Any]], *, queries: bool) -> list[Row]:
    """``queries``: with those that are SQL statements, of which there are very many."""
    shown = [it for it in spans if queries or "db.operation" not in it["attributes"]]
    if not shown:
        return []
    scale = Scale(min(it["start"] for it in shown), max(it["end"] for it in shown))
    known = {it["span_id"] for it in shown}
    below: dict[str | None, list[Mapping[str, Any]]] = {}
    for span in sorted(shown, key=lambda it: it["start"]):
        below.setdefault(span["parent_id"] if span["parent_id"] in known else None, []).append(span)
    return list(_walk(below, scale))


def _walk(below: Mapping[str | None, list[Mapping[str, Any]]], scale: Scale) -> Iterator[Row]:
    pending = [(span, 0) for span in reversed(below.get(None, []))]
    while pending:
        span, depth = pending.pop()
        look = "fails" if span["status"] == "error" else "works" if span["kind"] in {"server", "consumer"} else "other"
        yield Row(span, min(depth, DEEPEST), scale.bar(look, span["start"], span["end"]))
        pending += [(child, depth + 1) for child in reversed(below.get(span["span_id"], []))]
