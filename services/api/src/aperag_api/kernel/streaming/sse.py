"""The text of server-sent events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aperag_api.kernel.streaming.fanout import Event, Position

MEDIA_TYPE = "text/event-stream"


def event_frame(event: Event) -> bytes:
    # The body is compact JSON: it holds no line break that could end the frame early.
    return f"id: {event.position}\nevent: {event.type}\ndata: ".encode() + event.body + b"\n\n"


def reset_frame(position: Position, reason: str) -> bytes:
    """After it the client reads its state again; it may resume from ``position``."""
    data = json.dumps({"epoch": position.epoch, "reason": reason})
    return f"id: {position}\nevent: reset\ndata: {data}\n\n".encode()


def position_frame(position: Position) -> bytes:
    """Dispatches no event, but lets a client that has seen none resume from here."""
    return f"retry: 1000\nid: {position}\n\n".encode()


def comment(text: str) -> bytes:
    return f": {text}\n\n".encode()
