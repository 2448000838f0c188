"""Messages of a chat, made of its turns; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from aperag_api.conversation.chats.schemas import ChatMessage
from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aperag_api.conversation.turns.repository import TurnRow

_SHOWN: Mapping[str, Literal["message", "thinking", "tool_call_result", "references", "error"]] = {
    TurnEventKind.MESSAGE: "message",
    TurnEventKind.THINKING: "thinking",
    TurnEventKind.TOOL_CALL_RESULT: "tool_call_result",
    TurnEventKind.REFERENCES: "references",
    TurnEventKind.ERROR: "error",
}


def messages_of(turn: TurnRow) -> list[ChatMessage]:
    """The question, then what the turn told, in its order."""
    question = ChatMessage(
        id=turn.message_id,
        part_id=f"{turn.id}-q",
        type="message",
        timestamp=turn.created.timestamp(),
        role="human",
        data=turn.question,
        files=turn.request.get("files") or [],
    )
    return [question, *_answered(turn, turn.parts)]


def _answered(turn: TurnRow, parts: Iterable[Mapping[str, Any]]) -> Iterable[ChatMessage]:
    for part in parts:
        shown = _SHOWN.get(part["type"])
        if shown is None:
            continue
        data = part["data"]
        yield ChatMessage(
            id=turn.message_id,
            part_id=f"{turn.id}-{part['part_id']}",
            type=shown,
            timestamp=part["timestamp"],
            role="ai",
            data="" if shown == "references" else data.get("text", data.get("message", "")),
            references=data["items"] if shown == "references" else [],
            feedback=turn.feedback if shown == "message" else None,
        )
