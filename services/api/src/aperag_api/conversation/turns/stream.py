"""Events of a turn as its readers get them: the contract's agent events, as server-sent events."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from aperag_api.kernel.streaming.sse import comment
from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from aperag_common.live.queue import AgentMessageQueue, Message

RETRY = b"retry: 1000\n\n"
# Compact JSON holds no line break that could end a frame early.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


async def batch(queue: AgentMessageQueue) -> Sequence[Message]:
    """Everything that has come, at least one message; empty at the end."""
    got: list[Message] = []
    while (not got or queue.qsize()) and (message := await queue.get()) is not None:
        got.append(message)
    return got


async def batches(queue: AgentMessageQueue) -> AsyncGenerator[Sequence[Message], None]:
    """Until the end; an empty one where the queue's patience ended."""
    while True:
        try:
            got = await batch(queue)
        except TimeoutError:
            yield []
            continue
        if not got:
            return
        yield got


def shape_of(message: Message, message_id: str) -> dict[str, Any]:
    """The contract's shape."""
    data = message["data"]
    frame: dict[str, Any] = {"type": message["type"], "id": message_id, "timestamp": message["timestamp"]}
    match message["type"]:
        case TurnEventKind.MESSAGE | TurnEventKind.THINKING:
            frame["data"] = data["text"]
        case TurnEventKind.TOOL_CALL:
            frame |= {"data": "", "tool_name": data["tool"], "call_id": data["call_id"], "arguments": data["arguments"]}
        case TurnEventKind.TOOL_CALL_RESULT:
            frame |= {
                "data": data["text"],
                "title": data.get("title") or data["tool"],
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
            frame |= {"data": data["references"], "urls": [], "outcome": data["outcome"], "usage": data["usage"]}
        case TurnEventKind.ERROR:
            frame |= {"data": data["message"], "code": data["code"]}
        case _:
            pass
    return frame


def frame_of(message: Message, message_id: str) -> bytes:
    return f"id: {message['id']}\ndata: {_encode(shape_of(message, message_id))}\n\n".encode()


async def frames(told: AsyncGenerator[Sequence[Message], None], message_id: str) -> AsyncGenerator[bytes, None]:
    """Ends after the terminal message; what comes at once is one piece; a silent stream sends a comment now and then."""
    yield RETRY
    async with aclosing(told):
        async for messages in told:
            yield b"".join(frame_of(message, message_id) for message in messages) or comment("waiting")
