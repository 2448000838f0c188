"""The contract of ``AgentMessageQueue``, at both of its ends, without a server between them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aperag_agent.live.publisher import TurnPublisher
from aperag_api.conversation.live.relay import TurnRelay
from aperag_api.conversation.live.subscriber import TurnSubscriber
from aperag_common.live.events import Cursor, TurnEvent

if TYPE_CHECKING:
    from aperag_common.live.queue import AgentMessageQueue, Message

STOP: Message = {"type": "stop", "data": {"outcome": "answered", "usage": {}}}
WAITS = 5


def text(words: str) -> Message:
    return {"type": "message", "data": {"text": words}}


class Wire:
    """Stands for the server: what the publisher sends, the relay hears at once."""

    def __init__(self, *, lost: frozenset[int] = frozenset()) -> None:
        nobody: Any = None
        self.nc = self
        self.relay = TurnRelay(nobody, "turn", nobody)
        self.lost = lost

    async def subscribe(self, *_: Any, **__: Any) -> None:
        raise OSError

    def send(self, _: str, payload: bytes) -> None:
        event = TurnEvent.decode(payload)
        if event.seq not in self.lost:
            self.relay._take(event)

    def writer(self, *, coalesce: float = 0.0) -> TurnPublisher:
        sender: Any = self
        return TurnPublisher(sender, "turn", 1, coalesce=coalesce, beat=60.0)

    def reader(self, after: Cursor | None = None, *, patience: float | None = None) -> TurnSubscriber:
        return TurnSubscriber(self.relay, after, patience=patience)


@pytest.fixture
def wire() -> Wire:
    return Wire()


async def rest(queue: AgentMessageQueue) -> list[Any]:
    """``[type, text or other data]`` of each message up to the end."""
    told: list[Any] = []
    async with asyncio.timeout(WAITS):
        while (message := await queue.get()) is not None:
            told.append([message["type"], message["data"].get("text")])
    return told


async def test_get_answers_every_message_then_none_and_none_ever_after(wire: Wire) -> None:
    async with wire.writer() as writer:
        reader = wire.reader()
        await writer.put(text("tea"))
        await writer.put({"type": "tool_call", "data": {}})
        await writer.put(STOP)
    assert not reader.is_closed()
    assert await rest(reader) == [["start", None], ["message", "tea"], ["tool_call", None], ["stop", None]]
    assert reader.is_closed()
    assert [await reader.get(), await reader.get(), reader.qsize()] == [None, None, 0]


async def test_messages_have_what_a_reader_needs(wire: Wire) -> None:
    async with wire.writer() as writer:
        await writer.put({"type": "references", "data": {"items": [{"text": "Green tea."}]}})
        await writer.put(STOP)
    reader = wire.reader(Cursor(1, 1))
    stop = await reader.get()
    assert stop is not None
    assert (stop["id"], stop["type"]) == ("1-2", "stop")
    assert stop["timestamp"] > 0
    assert stop["data"] == {**STOP["data"], "references": [{"text": "Green tea."}]}  # though it came after these


async def test_get_waits_for_a_message(wire: Wire) -> None:
    async with wire.writer() as writer:
        reader = wire.reader()
        assert (await reader.get() or {})["type"] == "start"
        waiting = asyncio.create_task(reader.get())
        await asyncio.sleep(0)
        assert not waiting.done()
        await writer.put(text("tea"))
        assert ((await waiting) or {})["data"] == {"text": "tea"}


async def test_a_cancelled_get_loses_no_message(wire: Wire) -> None:
    async with wire.writer() as writer:
        reader = wire.reader()
        await reader.get()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.get(), 0.01)
        await writer.put(text("tea"))
        await writer.put(STOP)
    assert await rest(reader) == [["message", "tea"], ["stop", None]]


async def test_qsize_counts_what_get_answers_without_waiting(wire: Wire) -> None:
    async with wire.writer() as writer:
        reader = wire.reader()
        assert reader.qsize() == 1  # its start
        for _ in range(3):
            await writer.put({"type": "tool_call", "data": {}})
        assert reader.qsize() == 4
        await reader.get()
        assert reader.qsize() == 3
        assert writer.qsize() == 0
        await writer.put(STOP)
    assert reader.qsize() == 4
    await reader.close()
    assert (reader.qsize(), await reader.get()) == (0, None)


async def test_pieces_that_a_reader_has_not_taken_arrive_as_one(wire: Wire) -> None:
    async with wire.writer() as writer:
        slow = wire.reader()
        for word in ("green ", "tea"):
            await writer.put(text(word))
        await writer.put(STOP)
    assert await rest(slow) == [["start", None], ["message", "green tea"], ["stop", None]]


async def test_text_is_coalesced_and_everything_else_keeps_its_place(wire: Wire) -> None:
    async with wire.writer(coalesce=60.0) as writer:
        for message in (text("green "), text("tea"), {"type": "thinking", "data": {"text": "hm"}}, text("!")):
            await writer.put(message)  # type: ignore[arg-type]  # the same shape
        assert [it.kind for it in wire.relay.log.events] == ["start", "message", "thinking"]
        await writer.put(STOP)
    assert [it.data.get("text") for it in wire.relay.log.events] == [None, "green tea", "hm", "!", None]


async def test_every_reader_gets_every_message(wire: Wire) -> None:
    async with wire.writer() as writer:
        first, second = wire.reader(), wire.reader()
        await first.get()
        await writer.put(text("tea"))
        await first.close()  # whoever goes away changes nothing for others
        await writer.put(STOP)
    assert await rest(second) == [["start", None], ["message", "tea"], ["stop", None]]
    assert await rest(wire.reader()) == await rest(wire.reader()) != []


async def test_a_reader_resumes_after_the_id_that_it_had(wire: Wire) -> None:
    async with wire.writer() as writer:
        first = wire.reader()
        await writer.put(text("green "))
        await first.get()
        had = await first.get()
        assert had is not None
        await writer.put(text("tea"))
        await writer.put(STOP)
    assert await rest(wire.reader(Cursor.parse(had["id"]))) == [["message", "tea"], ["stop", None]]
    whole = [["start", None], ["message", "green tea"], ["stop", None]]
    assert await rest(wire.reader(Cursor(2, 1))) == whole  # of a run that is unknown here
    assert await rest(wire.reader(Cursor(1, 1, stored=True))) == whole


async def test_a_later_run_takes_the_place_of_what_was_not_read(wire: Wire) -> None:
    reader = wire.reader()
    async with wire.writer() as writer:
        await writer.put(text("old"))
        assert reader.qsize() == 2
        sender: Any = wire
        async with TurnPublisher(sender, "turn", 2, coalesce=0.0) as second:
            await writer.put(STOP)
            await second.put(text("new"))
            await second.put(STOP)
    assert await rest(reader) == [["start", None], ["message", "new"], ["stop", None]]


@pytest.mark.parametrize("last", [STOP, {"type": "error", "data": {"code": "C", "message": "no"}}, None])
async def test_a_closed_queue_takes_nothing_more(wire: Wire, last: Message | None) -> None:
    async with wire.writer() as writer:
        if last is None:
            await writer.close()
        else:
            await writer.put(last)
        assert writer.is_closed()
        with pytest.raises(ValueError, match="closed"):
            await writer.put(text("more"))
        await writer.close()  # once more is no error
    assert wire.relay.log.ended is (last is not None)


async def test_close_sends_what_is_pending(wire: Wire) -> None:
    async with wire.writer(coalesce=60.0) as writer:
        await writer.put(text("green "))
        await writer.put(text("tea"))
    assert told(wire) == "green tea"


def told(wire: Wire) -> str:
    return "".join(str(it.data["text"]) for it in wire.relay.log.events if it.kind == "message")


async def test_each_end_refuses_what_the_other_one_does(wire: Wire) -> None:
    async with wire.writer() as writer:
        with pytest.raises(ValueError, match="gives no messages"):
            await writer.get()
        with pytest.raises(ValueError, match="takes messages"):
            await wire.reader().put(text("more"))
        with pytest.raises(ValueError, match="no_such_type"):
            await writer.put({"type": "no_such_type", "data": {}})


async def test_a_close_ends_a_get_that_waits(wire: Wire) -> None:
    reader = wire.reader()
    waiting = asyncio.create_task(reader.get())
    await asyncio.sleep(0)
    await reader.close()
    assert await asyncio.wait_for(waiting, WAITS) is None


async def test_get_loses_its_patience_where_it_was_given_one(wire: Wire) -> None:
    reader = wire.reader(patience=0.01)
    waiting = asyncio.create_task(reader.get())
    await asyncio.sleep(0.02)
    wire.relay.wake_readers()  # as the relay's pulse does
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting, WAITS)
    async with wire.writer() as writer:
        await writer.put(STOP)
    assert await rest(reader) == [["start", None], ["stop", None]]
