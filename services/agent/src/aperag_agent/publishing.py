"""The agent library's events, translated into the turn's live events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import (
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolReturnPart,
)

from aperag_agent.failures import too_long
from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from aperag_agent.tools.findings import Findings
    from aperag_common.live.queue import AgentMessageQueue

MESSAGE_CHARACTERS = 2_000
"""Of a tool's failure: it was written for the model, and may quote a document."""


@dataclass(slots=True)
class EventPublisher:
    """``shown`` holds a line for people per tool call; readers do not get the tools' results themselves.

    ``first_word`` is called once, before the answer's first piece is published.
    """

    queue: AgentMessageQueue
    findings: Findings
    longest: int
    first_word: Callable[[], None]
    shown: dict[str, str] = field(default_factory=dict)
    written: int = 0

    async def event(self, event: Any) -> None:
        """Raises ``TurnFailed`` where the answer has grown too long."""
        match event:
            case PartStartEvent(part=TextPart(content=text)) if text:
                await self._text(text)
            case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                await self._text(text)
            case (
                PartStartEvent(part=ThinkingPart(content=text))
                | PartDeltaEvent(delta=ThinkingPartDelta(content_delta=text))
            ) if text:
                await self._put(TurnEventKind.THINKING, {"text": sound(text)})
            case FunctionToolCallEvent(part=part):
                data = {"call_id": part.tool_call_id, "tool": part.tool_name, "arguments": _arguments(part.args)}
                await self._put(TurnEventKind.TOOL_CALL, data)
            case FunctionToolResultEvent(part=part):
                await self._result(part)
            case _:
                pass

    async def _text(self, text: str) -> None:
        text = sound(text)
        if text and not self.written:
            self.first_word()
        self.written += len(text)
        if self.written > self.longest:
            raise too_long(self.longest)
        await self._put(TurnEventKind.MESSAGE, {"text": text})

    async def _result(self, part: Any) -> None:
        call_id = part.tool_call_id
        shown = self.shown.pop(call_id, None)  # some providers give a later call the same id
        failed = shown is None
        text = shown or _failure(part)
        tool = part.tool_name
        data = {"call_id": call_id, "tool": tool, "title": self.findings.title(tool), "text": text, "failed": failed}
        await self._put(TurnEventKind.TOOL_CALL_RESULT, data)

    async def _put(self, kind: TurnEventKind, data: dict[str, Any]) -> None:
        await self.queue.put({"type": kind, "data": data})


def sound(text: str) -> str:
    """Some providers cut a text between the two halves of one character; a half of one can be neither sent nor kept."""
    return text.encode("utf-8", "replace").decode() if any("\ud800" <= it <= "\udfff" for it in text) else text


def _arguments(given: Any) -> dict[str, Any]:
    """Models send them as JSON, or as what should have been JSON."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            return {}
    return given if isinstance(given, dict) else {}


def _failure(part: Any) -> str:
    content = part.content if isinstance(part, ToolReturnPart) else getattr(part, "content", "")
    return str(content)[:MESSAGE_CHARACTERS]
