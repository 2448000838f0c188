"""The events of a flow that is tried, as its editor reads them (contract 1.7); pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aperag_common.live.queue import Message

_ENDS = frozenset({"flow_end", "flow_error"})


@dataclass(slots=True)
class DebugStream:
    """Pieces of the answer are told after the flow's end: an editor first draws what the nodes did."""

    _pieces: list[tuple[str, float]] = field(default_factory=list)
    _node: str | None = None
    _execution: str = ""
    _ended: bool = False

    def frames(self, messages: Iterable[Message]) -> list[bytes]:
        return [_frame(shown) for message in messages for shown in self._shown(message)]

    def _shown(self, message: Message) -> list[dict[str, Any]]:
        match message["type"]:
            case TurnEventKind.START:
                # A later run begins everything anew; an editor sees the second flow_start.
                self._pieces, self._ended = [], False
                return []
            case TurnEventKind.NODE:
                self._execution = message["data"]["execution_id"]
                self._node = message["data"]["node_id"] or self._node
                shown = [{**message["data"], "timestamp": _time(message["timestamp"])}]
                if message["data"]["event_type"] in _ENDS:
                    self._ended = True
                    shown += [self._chunk(*piece) for piece in self._pieces]
                return shown
            case TurnEventKind.MESSAGE:
                self._pieces.append((message["data"]["text"], message["timestamp"]))
                return []
            case TurnEventKind.ERROR if not self._ended:
                return [self._failed(message)]
            case TurnEventKind.STOP if not self._ended:
                return [self._cancelled(message)]
            case _:
                return []

    def _chunk(self, text: str, at: float) -> dict[str, Any]:
        return self._event("output_chunk", {"chunk": text}, at, self._node)

    def _failed(self, message: Message) -> dict[str, Any]:
        return self._event("flow_error", {"error": message["data"]["message"]}, message["timestamp"])

    def _cancelled(self, message: Message) -> dict[str, Any]:
        return self._event("flow_error", {"error": f"The run was {message['data']['outcome']}."}, message["timestamp"])

    def _event(self, event_type: str, data: dict[str, Any], at: float, node: str | None = None) -> dict[str, Any]:
        return {
            "event_type": event_type,
            "node_id": node,
            "node_type": "llm" if node else None,
            "execution_id": self._execution,
            "timestamp": _time(at),
            "data": data,
        }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _frame(event: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
