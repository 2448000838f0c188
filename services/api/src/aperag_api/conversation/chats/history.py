"""Messages of a chat, made of its turns; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from aperag_api.conversation.answers.frames import tool_text
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


def groups_of(turn: TurnRow) -> list[list[ChatMessage]]:
    """The question; then, once there is any, what the turn told in its order."""
    question = ChatMessage(
        id=turn.message_id,
        part_id=f"{turn.id}-q",
        type="message",
        timestamp=turn.created.timestamp(),
        role="human",
        data=turn.question,
        files=turn.request.get("files") or [],
    )
    answered = list(_answered(turn, turn.parts))
    return [[question], answered] if answered else [[question]]


def _answered(turn: TurnRow, parts: Iterable[Mapping[str, Any]]) -> Iterable[ChatMessage]:
    for part in parts:
        shown, data = _SHOWN.get(part["type"]), part["data"]
        if shown is None or data.get("failed"):
            continue
        yield ChatMessage(
            id=turn.message_id,
            part_id=f"{turn.id}-{part['part_id']}",
            type=shown,
            timestamp=part["timestamp"],
            role="ai",
            data=_text(shown, data),
            references=data["items"] or None if shown == "references" else None,
            feedback=turn.feedback,
        )


def _text(shown: str, data: Mapping[str, Any]) -> str:
    match shown:
        case "references":
            return ""
        case "tool_call_result":
            return tool_text(data)
        case "error":
            return str(data["message"])
        case _:
            return str(data["text"])
