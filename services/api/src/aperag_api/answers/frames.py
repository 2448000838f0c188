"""From what happens in a turn to the frames of older chat clients (contract 1.9); pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_common.live.events import TurnEvent, TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SEPARATOR = "\n\n"
"""Between two texts of one answer, as the stored answer joins them."""

Frame = dict[str, Any]


def frame(kind: str, message_id: str, at: float, **fields: Any) -> Frame:
    """Their clock counts whole seconds."""
    return {"type": kind, "id": message_id, **fields, "timestamp": int(at)}


@dataclass(slots=True)
class Text:
    """The answer so far; what comes after something else is a text of its own."""

    written: bool = False
    _last: TurnEventKind | None = None

    def take(self, event: TurnEvent) -> str:
        """What it adds to the answer, if anything."""
        before, self._last = self._last, event.kind
        if event.kind is TurnEventKind.START:
            self.written = False
        if event.kind is not TurnEventKind.MESSAGE:
            return ""
        apart = self.written and before is not TurnEventKind.MESSAGE
        self.written = True
        return (SEPARATOR if apart else "") + str(event.data["text"])


@dataclass(slots=True)
class FlowFrames:
    """For knowledge and common bots. ``memory`` is how many turns came before; ``socket``: references have a frame of
    their own there, and stand in the last one elsewhere.
    """

    message_id: str
    memory: int
    socket: bool
    _text: Text = field(default_factory=Text)
    _references: list[Mapping[str, Any]] = field(default_factory=list)

    def of(self, events: Iterable[TurnEvent]) -> list[Frame]:
        return [shown for event in events for shown in self._of(event)]

    def _of(self, event: TurnEvent) -> list[Frame]:
        text = self._text.take(event)
        match event.kind:
            case TurnEventKind.START:
                self._references = []
                return [frame("start", self.message_id, event.at)]
            case TurnEventKind.MESSAGE:
                return [frame("message", self.message_id, event.at, data=text)]
            case TurnEventKind.REFERENCES:
                self._references += event.data["items"]
                return []
            case TurnEventKind.STOP:
                return self._end(event)
            case TurnEventKind.ERROR:
                return [frame("error", self.message_id, event.at, data=event.data["message"])]
            case _:
                return []

    def _end(self, event: TurnEvent) -> list[Frame]:
        found = {"data": self._references, "memoryCount": self.memory, "urls": []}
        if not self.socket:
            return [frame("stop", self.message_id, event.at, **found)]
        return [frame("references", self.message_id, event.at, **found), frame("stop", self.message_id, event.at)]


@dataclass(slots=True)
class AgentFrames:
    """For agent bots: their tools are told of, references stand in the last frame."""

    message_id: str
    _text: Text = field(default_factory=Text)
    _references: list[Mapping[str, Any]] = field(default_factory=list)

    def of(self, events: Iterable[TurnEvent]) -> list[Frame]:
        return [shown for event in events for shown in self._of(event)]

    def _of(self, event: TurnEvent) -> list[Frame]:
        text, data = self._text.take(event), event.data
        fields: dict[str, Any] | None = None
        match event.kind:
            case TurnEventKind.START:
                self._references, fields = [], {}
            case TurnEventKind.MESSAGE:
                fields = {"data": text}
            case TurnEventKind.THINKING:
                fields = {"data": data["text"]}
            case TurnEventKind.TOOL_CALL_RESULT if not data["failed"]:
                fields = {"data": f"{data['text']}{SEPARATOR}", "tool_name": data["tool"], "result": None}
            case TurnEventKind.REFERENCES:
                self._references += data["items"]
            case TurnEventKind.STOP:
                fields = {"data": self._references, "urls": []}
            case TurnEventKind.ERROR:
                return [frame("error", "error", event.at, data=data["message"])]
            case _:
                pass
        return [] if fields is None else [frame(event.kind.value, self.message_id, event.at, **fields)]
