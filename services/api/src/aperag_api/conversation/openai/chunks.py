"""From what happens in a turn to the chunks of a completion; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_api.conversation.answers.frames import Text
from aperag_api.conversation.openai.schemas import MODEL, Usage
from aperag_api.kernel.openai_failures import error_body
from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aperag_common.live.queue import Message

DONE = b"data: [DONE]\n\n"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def usage_of(usage: Mapping[str, Any] | None) -> Usage:
    spent = usage or {}
    asked, answered = int(spent.get("input_tokens") or 0), int(spent.get("output_tokens") or 0)
    return Usage(prompt_tokens=asked, completion_tokens=answered, total_tokens=asked + answered)


@dataclass(slots=True)
class Chunks:
    """Of one completion. A client of these cannot begin a text anew: of a later run it is told what goes on where the
    text stood, and an error where the new text is another.
    """

    id: str
    created: int
    with_usage: bool
    _text: Text = field(default_factory=Text)
    _sent: str = ""
    _run: str = ""
    _opened: bool = False
    _failed: bool = False

    def of(self, messages: Iterable[Message]) -> list[bytes]:
        return [line for message in messages if not self._failed for line in self._of(message)]

    def _of(self, message: Message) -> list[bytes]:
        added = self._text.take(message)
        match message["type"]:
            case TurnEventKind.START:
                self._run = ""
                return self._open()
            case TurnEventKind.MESSAGE:
                return self._grown(added)
            case TurnEventKind.STOP:
                return self._stopped(message)
            case TurnEventKind.ERROR:
                return [_line(error_body(500, message["data"]["message"], message["data"]["code"]))]
            case _:
                return []

    def _open(self) -> list[bytes]:
        if self._opened:
            return []
        self._opened = True
        return [self._chunk({"role": "assistant", "content": ""})]

    def _grown(self, added: str) -> list[bytes]:
        self._run += added
        if not self._run.startswith(self._sent):
            if self._sent.startswith(self._run):
                return []
            return self._anew()
        fresh = self._run[len(self._sent) :]
        # Clients count on more than one piece, also of an answer that came at once.
        pieces = [fresh] if self._sent or len(fresh) < 2 else [fresh[: len(fresh) // 2], fresh[len(fresh) // 2 :]]
        self._sent = self._run
        return [self._chunk({"content": piece}) for piece in pieces if piece]

    def _anew(self) -> list[bytes]:
        """The end: what was sent is no part of the answer."""
        self._failed = True
        message = "The answer was begun anew and reads differently now: it stands in its chat."
        return [_line(error_body(500, message, "answer_begun_anew"))]

    def _stopped(self, message: Message) -> list[bytes]:
        if self._run != self._sent:
            return self._anew()
        lines = [self._chunk({}, "stop", references=message["data"]["references"])]
        if self.with_usage:
            usage = usage_of(message["data"].get("usage")).model_dump()
            lines.append(_line({**self._head(), "choices": [], "usage": usage}))
        return [*lines, DONE]

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        usage = {"usage": None} if self.with_usage else {}
        return _line({**self._head(), "choices": [choice], **usage, **more})

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": MODEL}


def _line(value: Mapping[str, Any]) -> bytes:
    return f"data: {_encode(value)}\n\n".encode()
