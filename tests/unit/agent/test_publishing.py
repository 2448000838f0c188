"""What a model's pieces become on their way to readers."""

from __future__ import annotations

import json

import pytest
from pydantic_ai.messages import (
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolReturnPart,
)

from aperag_agent.publishing import EventPublisher, sound
from aperag_agent.tools.findings import Findings
from aperag_common.live.queue import AgentMessageQueue, Message


@pytest.mark.parametrize(
    ("piece", "told"),
    [("plain", "plain"), ("차 🍵", "차 🍵"), ("half \ud83c", "half ?"), ("\udf75", "?"), ("", "")],
)
def test_half_a_character_becomes_a_mark_that_can_be_sent(piece: str, told: str) -> None:
    assert sound(piece) == told
    json.dumps(sound(piece), ensure_ascii=False).encode()


class Heard(AgentMessageQueue):
    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def put(self, message: Message) -> None:
        self.messages.append(message)

    async def close(self) -> None:
        raise NotImplementedError

    def is_closed(self) -> bool:
        return False


async def test_whatever_the_model_does_is_put_into_the_queue() -> None:
    queue, words = Heard(), iter([None])
    publisher = EventPublisher(queue, Findings("en"), 100, lambda: next(words))
    publisher.shown["c"] = "Read 1"
    for event in (
        PartStartEvent(index=0, part=ThinkingPart("Hm")),
        PartDeltaEvent(index=0, delta=ThinkingPartDelta(content_delta=".")),
        FunctionToolCallEvent(part=ToolCallPart("web_read", '{"url": "u"}', "c")),
        FunctionToolResultEvent(part=ToolReturnPart("web_read", "secret", "c")),
        PartStartEvent(index=1, part=TextPart("Green ")),
        PartDeltaEvent(index=1, delta=TextPartDelta("tea")),
    ):
        await publisher.event(event)
    assert queue.messages == [
        {"type": "thinking", "data": {"text": "Hm"}},
        {"type": "thinking", "data": {"text": "."}},
        {"type": "tool_call", "data": {"call_id": "c", "tool": "web_read", "arguments": {"url": "u"}}},
        {
            "type": "tool_call_result",
            "data": {"call_id": "c", "tool": "web_read", "title": "Web pages", "text": "Read 1", "failed": False},
        },
        {"type": "message", "data": {"text": "Green "}},
        {"type": "message", "data": {"text": "tea"}},
    ]
