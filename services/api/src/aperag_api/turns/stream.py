"""Events of a turn as its readers get them: the contract's agent events, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aperag_api.events.sse import comment
from aperag_common.live.events import TurnEvent, TurnEventKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
    from datetime import timedelta

    from aperag_common.live.relay import TurnRelay

RETRY = b"retry: 1000\n\n"


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
    # Compact JSON holds no line break that could end the frame early.
    data = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.cursor}\ndata: {data}\n\n".encode()


async def frames(
    relay: TurnRelay, events: AsyncIterator[TurnEvent], message_id: str, *, heartbeat: timedelta
) -> AsyncGenerator[bytes, None]:
    """Ends after the terminal event; a silent stream sends a comment now and then."""
    yield RETRY
    pending: asyncio.Task[TurnEvent] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(events))
            await asyncio.wait({pending}, timeout=heartbeat.total_seconds())
            if not pending.done():
                yield comment("waiting")
                continue
            try:
                event = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            told = references_in(relay) if event.kind is TurnEventKind.STOP else ()
            yield frame_of(event, message_of(event, message_id, told))
    finally:
        if pending is not None:
            pending.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
