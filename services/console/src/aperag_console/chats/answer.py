"""From the frames of a turn to what a browser shows of it while it is made; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_console.web import markup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from markupsafe import Markup

TERMINAL = frozenset({"stop", "error"})
SEPARATOR = "\n\n"
_CITATION = re.compile(r"\[(\d{1,3})\](?!\()")
"""Where an answer names a passage by its number."""

Told = tuple[str, dict[str, Any]]
"""(kind, data) of one event for the browser."""


@dataclass(slots=True)
class Answer:
    """An answer as far as it has come. A ``start`` begins it anew: its agent died, or the reader came later."""

    text: str = ""
    _blocks: list[str] = field(default_factory=list)
    _last: str = ""

    def take(self, frame: Mapping[str, Any]) -> Iterator[Told]:
        kind, before, self._last = frame["type"], self._last, frame["type"]
        match kind:
            case "start":
                self.text, self._blocks = "", []
                yield "start", {}
            case "message":
                apart = self.text and before not in {"message", "start"}
                self.text += (SEPARATOR if apart else "") + frame["data"]
                yield from self._written()
            case "thinking":
                yield "thinking", {"text": frame["data"]}
            case "tool_call":
                yield "tool", {"id": frame["call_id"], "name": frame["tool_name"], "text": ""}
            case "tool_call_result":
                done = {"id": frame["call_id"], "name": frame["tool_name"], "text": frame["data"]}
                yield "tool", {**done, "failed": frame["failed"]}
            case "stop" | "error":
                yield "end", {"message": frame["data"] if kind == "error" else ""}

    def _written(self) -> Iterator[Told]:
        """Only the paragraphs that changed: those before stay as the browser has them."""
        fresh = markup.blocks(self.text)
        same = next((n for n, pair in enumerate(zip(self._blocks, fresh, strict=False)) if pair[0] != pair[1]), None)
        start = min(len(self._blocks), len(fresh)) if same is None else same
        self._blocks = fresh
        yield "answer", {"from": start, "blocks": fresh[start:]}


def cited(text: str, turn: str, references: int) -> Markup:
    """A finished answer, in which each number of a passage opens it."""

    def link(match: re.Match[str]) -> str:
        number = int(match[1])
        if not 1 <= number <= references:
            return match[0]
        return f'<button class="cite" popovertarget="{turn}-{number}">{number}</button>'

    return markup.rendered(_CITATION.sub(link, markup.markdown(text)))
