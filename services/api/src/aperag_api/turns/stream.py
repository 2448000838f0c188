"""Events of a turn as its readers get them: the contract's agent events, as server-sent events."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from aperag_api.events.sse import comment
from aperag_common.live.events import TurnEvent, TurnEventKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from datetime import timedelta

    from aperag_common.live.events import Cursor
    from aperag_common.live.relay import TurnRelay

RETRY = b"retry: 1000\n\n"
# Compact JSON holds no line break that could end a frame early.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def message_of(event: TurnEvent, message_id: str, references: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The contract's shape; ``references`` are those of the whole turn, which its STOP repeats."""
    frame: dict[str, Any] = {"type": event.kind.value, "id": message_id, "timestamp": event.at}
    data = event.data
    match event.kind:
        case TurnEventKind.MESSAGE | TurnEventKind.THINKING:
            frame["data"] = data["text"]
        case TurnEventKind.TOOL_CALL:
            frame |= {"data": "", "tool_name": data["tool"], "call_id": data["call_id"], "arguments": data["arguments"]}
        case TurnEventKind.TOOL_CALL_RESULT:
            frame |= {
                "data": data["text"],
                "tool_name": data["tool"],
                "call_id": data["call_id"],
                "failed": data["failed"],
                "result": None,
            }
        case TurnEventKind.REFERENCES:
            frame["data"] = data["items"]
        case TurnEventKind.NODE:
            frame |= data
        case TurnEventKind.STOP:
            frame |= {"data": list(references), "urls": [], "outcome": data["outcome"], "usage": data["usage"]}
        case TurnEventKind.ERROR:
            frame |= {"data": data["message"], "code": data["code"]}
        case _:
            pass
    return frame


def references_in(relay: TurnRelay) -> list[Mapping[str, Any]]:
    return [
        item for event in relay.log.events if event.kind is TurnEventKind.REFERENCES for item in event.data["items"]
    ]


def frame_of(event: TurnEvent, message: Mapping[str, Any]) -> bytes:
    return f"id: {event.cursor}\ndata: {_encode(message)}\n\n".encode()


async def frames(
    relay: TurnRelay, after: Cursor | None, message_id: str, *, heartbeat: timedelta
) -> AsyncGenerator[bytes, None]:
    """Ends after the terminal event; what comes at once is one piece; a silent stream sends a comment now and then."""
    yield RETRY
    async with aclosing(relay.batches(after, patience=heartbeat.total_seconds())) as batches:
        async for events in batches:
            yield b"".join(_frame(relay, event, message_id) for event in events) or comment("waiting")


def _frame(relay: TurnRelay, event: TurnEvent, message_id: str) -> bytes:
    references = references_in(relay) if event.kind is TurnEventKind.STOP else ()
    return frame_of(event, message_of(event, message_id, references))
