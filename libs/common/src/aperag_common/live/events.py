"""Events of a turn as they travel: a few fields of JSON, numbered within the run that they belong to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_common.live.queue import Message


class TurnEventKind(StrEnum):
    """START opens a run, STOP or ERROR ends a turn; a BEAT says that its agent lives, and is told to nobody else.

    ``data``: MESSAGE and THINKING ``{text}`` (what is added); TOOL_CALL ``{call_id, tool, arguments}``;
    TOOL_CALL_RESULT ``{call_id, tool, title, text, failed}``; REFERENCES ``{items: [{text, score, metadata}]}``;
    NODE, of a flow, ``{event_type, node_id, node_type, execution_id, data}``; STOP ``{outcome, usage}``;
    ERROR ``{code, message}``.
    """

    START = "start"
    THINKING = "thinking"
    TOOL_CALL = "tool_call"
    TOOL_CALL_RESULT = "tool_call_result"
    MESSAGE = "message"
    REFERENCES = "references"
    NODE = "node"
    STOP = "stop"
    ERROR = "error"
    BEAT = "beat"


TERMINAL = frozenset({TurnEventKind.STOP, TurnEventKind.ERROR})
GROWING = frozenset({TurnEventKind.MESSAGE, TurnEventKind.THINKING})
"""Kinds that arrive in pieces, which are one text to whoever reads them later."""
BEAT_SECONDS = 2.0
"""An agent that has nothing to tell says at least so often that it lives."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_CURSOR = re.compile(r"([0-9]{1,9})-(s?)([0-9]{1,9})\Z")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event that a reader has; ``stored`` ones are numbered anew, from the turn's row."""

    run: int
    seq: int
    stored: bool = False

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """None for what no event bears: the reader then starts from the beginning."""
        found = _CURSOR.match(text.strip())
        return None if found is None else cls(int(found[1]), int(found[3]), bool(found[2]))

    def __str__(self) -> str:
        return f"{self.run}-{'s' if self.stored else ''}{self.seq}"


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """``run`` counts the runs of the turn, from 1; ``seq`` the events of a run, from 0 (its START) without a gap.

    A beat bears the number of the last event. ``at`` is the agent's clock, in seconds since 1970. An event that stands
    for several pieces of a text bears the number of the last one.
    """

    run: int
    seq: int
    kind: TurnEventKind
    data: Mapping[str, Any]
    at: float
    stored: bool = False

    @property
    def message(self) -> Message:
        """As readers get it; its id is the text of a cursor."""
        name = f"{self.run}-s{self.seq}" if self.stored else f"{self.run}-{self.seq}"
        return {"id": name, "type": self.kind.value, "data": self.data, "timestamp": self.at}

    def encode(self) -> bytes:
        return _encode(self.as_json()).encode()

    def as_json(self) -> dict[str, Any]:
        return {"run": self.run, "seq": self.seq, "type": self.kind.value, "data": self.data, "at": self.at}

    @classmethod
    def decode(cls, payload: bytes) -> TurnEvent:
        """Raises ValueError for anything else: whoever may publish here is one of us, and may be of another version."""
        try:
            return cls.of_json(json.loads(payload))
        except (KeyError, TypeError, RecursionError) as err:
            raise ValueError("not an event of a turn") from err

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> TurnEvent:
        data = value["data"]
        if not isinstance(data, dict):
            raise TypeError("an event's data is an object")
        return cls(int(value["run"]), int(value["seq"]), TurnEventKind(value["type"]), data, float(value["at"]))
