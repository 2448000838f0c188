"""Events reach their owner's listeners, in order, and nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import gc
import json

import pytest

from aperag_api.kernel.streaming.fanout import Event, Fanout, Position, Signal
from aperag_api.kernel.streaming.sse import event_frame, reset_frame
from aperag_api.operations.events.reader import Delivered


def message(seq: int, owner: str = "user1", document_id: str = "doc1") -> Delivered:
    body = json.dumps({"id": str(seq), "data": {"document_id": document_id}}).encode()
    return Delivered(seq, f"aperag.evt.{owner}.document.parsed", body, 0)


async def taken(listener: object) -> list[object]:
    async with asyncio.timeout(1):
        return await listener.take()  # type: ignore[attr-defined, no-any-return]


async def test_an_owner_hears_only_their_own_events_in_order() -> None:
    fanout = Fanout(10)
    with fanout.listen("user1") as mine, fanout.listen("user2") as theirs:
        for seq in (1, 2, 3):
            fanout.publish(message(seq, "user1" if seq != 2 else "user2"), 1)
        assert [event.position.seq for event in await taken(mine)] == [1, 3]  # type: ignore[attr-defined]
        assert [event.position.seq for event in await taken(theirs)] == [2]  # type: ignore[attr-defined]


async def test_a_listener_that_lags_is_given_up_and_the_others_go_on() -> None:
    fanout = Fanout(2)
    with fanout.listen("user1") as slow, fanout.listen("user1") as quick:
        for seq in range(1, 6):
            fanout.publish(message(seq), 1)
            await taken(quick)
        assert await taken(slow) == [Signal.LAGGED]
        fanout.publish(message(6), 1)
        assert len(await taken(quick)) == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await slow.take()


async def test_a_reset_replaces_what_was_not_read_and_the_listener_goes_on() -> None:
    fanout = Fanout(5)
    with fanout.listen("user1") as listener:
        fanout.publish(message(1), 1)
        fanout.signal(Signal.RESET)
        fanout.publish(message(1), 2)
        signal, event = await taken(listener)
        assert signal is Signal.RESET
        assert isinstance(event, Event)
        assert event.position == Position(2, 1)


async def test_a_listener_nobody_holds_is_forgotten() -> None:
    fanout = Fanout(1)
    fanout.join("user1")
    gc.collect()
    assert not list(fanout._listeners["user1"])


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "a-b", "1-2-3", "1-x", "\uff11-2", "9" * 30 + "-1"])
def test_what_is_no_position_is_none(text: str) -> None:
    assert Position.parse(text) is None


def test_positions_of_a_later_life_come_after_all_of_an_earlier_one() -> None:
    assert Position.parse(" 3-17 ") == Position(3, 17)
    assert str(Position(3, 17)) == "3-17"
    assert Position(2, 900) < Position(3, 1)


def test_frames_are_server_sent_events() -> None:
    event = Event.of(message(7), 3)
    assert event_frame(event) == b"id: 3-7\nevent: document.parsed\ndata: " + event.body + b"\n\n"
    assert reset_frame(Position(4, 0), "why") == b'id: 4-0\nevent: reset\ndata: {"epoch": 4, "reason": "why"}\n\n'
