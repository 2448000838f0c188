"""From a chat's messages to turns as a page shows them; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_console.chats.answer import cited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

QUESTION = "-q"
"""How the part of a turn that is its question ends."""


@dataclass(slots=True)
class Turn:
    """``id`` is the gateway's, ``message_id`` what feedback is given for; ``open``: it is being answered."""

    id: str
    message_id: str
    question: str
    files: Sequence[Mapping[str, Any]]
    tools: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    references: list[Mapping[str, Any]] = field(default_factory=list)
    error: str = ""
    feedback: str = ""
    open: bool = False

    @property
    def html(self) -> Markup:
        return cited("\n\n".join(self.texts), self.id, len(self.references))


def turns_of(history: Sequence[Sequence[Mapping[str, Any]]]) -> list[Turn]:
    found: list[Turn] = []
    for group in history:
        for part in group:
            if part["role"] == "human":
                turn_id = part["part_id"].removesuffix(QUESTION)
                found.append(Turn(turn_id, part["id"], part["data"], part["files"] or []))
            elif found:
                _add(found[-1], part)
    return found


def _add(turn: Turn, part: Mapping[str, Any]) -> None:
    match part["type"]:
        case "message":
            turn.texts.append(part["data"])
            turn.feedback = (part["feedback"] or {}).get("type") or turn.feedback
        case "tool_call_result":
            turn.tools.append(_below_title(part["data"]))
        case "thinking":
            turn.thinking.append(part["data"])
        case "references":
            turn.references += part["references"] or []
        case "error":
            turn.error = part["data"]


def _below_title(text: str) -> str:
    """A line that says what was done needs no heading."""
    return (text.partition("\n\n")[2] or text).strip()
