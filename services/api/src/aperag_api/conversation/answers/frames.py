"""From what happens in a turn to the frames of older chat clients (contract 1.9); pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aperag_common.live.queue import Message

SEPARATOR = "\n\n"
"""Between two texts of one answer, as the stored answer joins them."""

Frame = dict[str, Any]


def frame(kind: str, message_id: str, at: float, **fields: Any) -> Frame:
    """Their clock counts whole seconds."""
    return {"type": kind, "id": message_id, **fields, "timestamp": int(at)}


def tool_text(data: Mapping[str, Any]) -> str:
    """Of the result of a tool's call: its title in the first line, which clients show alone until it is opened."""
    return f"**{data.get('title') or data['tool']}**{SEPARATOR}{data['text']}{SEPARATOR}"


@dataclass(slots=True)
class Text:
    """The answer so far; what comes after something else is a text of its own."""

    written: bool = False
    _last: str | None = None

    def take(self, message: Message) -> str:
        """What it adds to the answer, if anything."""
        before, self._last = self._last, message["type"]
        if message["type"] == TurnEventKind.START:
            self.written = False
        if message["type"] != TurnEventKind.MESSAGE:
            return ""
        apart = self.written and before != TurnEventKind.MESSAGE
        self.written = True
        return (SEPARATOR if apart else "") + str(message["data"]["text"])


@dataclass(slots=True)
class FlowFrames:
    """For knowledge and common bots. ``memory`` is how many turns came before; ``socket``: references have a frame of
    their own there, and stand in the last one elsewhere.
    """

    message_id: str
    memory: int
    socket: bool
    _text: Text = field(default_factory=Text)

    def of(self, messages: Iterable[Message]) -> list[Frame]:
        return [shown for message in messages for shown in self._of(message)]

    def _of(self, message: Message) -> list[Frame]:
        text = self._text.take(message)
        match message["type"]:
            case TurnEventKind.START:
                return [frame("start", self.message_id, message["timestamp"])]
            case TurnEventKind.MESSAGE:
                return [frame("message", self.message_id, message["timestamp"], data=text)]
            case TurnEventKind.STOP:
                return self._end(message)
            case TurnEventKind.ERROR:
                return [frame("error", self.message_id, message["timestamp"], data=message["data"]["message"])]
            case _:
                return []

    def _end(self, message: Message) -> list[Frame]:
        at = message["timestamp"]
        found = {"data": message["data"]["references"], "memoryCount": self.memory, "urls": []}
        if not self.socket:
            return [frame("stop", self.message_id, at, **found)]
        return [frame("references", self.message_id, at, **found), frame("stop", self.message_id, at)]


@dataclass(slots=True)
class AgentFrames:
    """For agent bots: their tools are told of, references stand in the last frame."""

    message_id: str
    _text: Text = field(default_factory=Text)

    def of(self, messages: Iterable[Message]) -> list[Frame]:
        return [shown for message in messages for shown in self._of(message)]

    def _of(self, message: Message) -> list[Frame]:
        text, data = self._text.take(message), message["data"]
        fields: dict[str, Any] | None = None
        match message["type"]:
            case TurnEventKind.START:
                fields = {}
            case TurnEventKind.MESSAGE:
                fields = {"data": text}
            case TurnEventKind.THINKING:
                fields = {"data": data["text"]}
            case TurnEventKind.TOOL_CALL_RESULT if not data["failed"]:
                fields = {"data": tool_text(data), "tool_name": data["tool"], "result": None}
            case TurnEventKind.STOP:
                fields = {"data": data["references"], "urls": []}
            case TurnEventKind.ERROR:
                return [frame("error", "error", message["timestamp"], data=data["message"])]
            case _:
                pass
        return [] if fields is None else [frame(message["type"], self.message_id, message["timestamp"], **fields)]
