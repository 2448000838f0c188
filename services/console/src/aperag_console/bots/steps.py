"""From the events of a flow that was tried to its steps: what each node was given and gave, and how long it took; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aperag_console.web.waterfall import Bar, Scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(slots=True)
class Step:
    """``ended`` is None for a node that never did; ``tries`` counts its starts."""

    node: str
    type: str
    started: float
    inputs: Any
    ended: float | None = None
    outputs: Any = None
    notes: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    tries: int = 1

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else self.ended - self.started


@dataclass(slots=True)
class Run:
    steps: list[Step] = field(default_factory=list)
    answer: str = ""
    error: str = ""
    _started: float = 0.0
    _ended: float = 0.0

    @property
    def bars(self) -> list[Bar]:
        scale = Scale(self._started, self._ended)
        return [
            scale.bar("fails" if it.error else "works", it.started, it.ended if it.ended is not None else self._ended)
            for it in self.steps
        ]

    @property
    def seconds(self) -> float:
        return self._ended - self._started

    def take(self, event: Mapping[str, Any]) -> None:
        at = datetime.fromisoformat(event["timestamp"]).timestamp()
        self._ended = max(self._ended, at)
        data, node = event["data"], event["node_id"]
        match event["event_type"]:
            case "flow_start":  # a run that broke off begins anew
                self.steps, self.answer, self.error, self._started, self._ended = [], "", "", at, at
            case "node_start":
                self._begin(Step(node, event["node_type"], at, data.get("inputs")))
            case "node_end" if step := self._open(node):
                step.ended, step.outputs, step.error = at, data.get("outputs"), ""
                step.notes = {name: value for name, value in data.items() if name != "outputs"}
            case "node_error" if step := self._open(node):
                step.ended, step.error = at, data["error"]
            case "output_chunk":
                self.answer += data["chunk"]
            case "flow_error":
                self.error = data["error"]

    def _begin(self, step: Step) -> None:
        before = self._open(step.node)
        if before is None:
            self.steps.append(step)
        else:
            before.ended, before.tries = None, before.tries + 1

    def _open(self, node: str) -> Step | None:
        return next((it for it in reversed(self.steps) if it.node == node), None)


def run_of(lines: Iterable[str]) -> Run:
    """From the lines of the event stream."""
    run = Run()
    for line in lines:
        if line.startswith("data:"):
            run.take(json.loads(line[5:]))
    return run
