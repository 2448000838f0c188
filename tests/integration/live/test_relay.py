"""Turns followed over the real server: what is lost on the way is healed, and everybody is told one end."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from aperag_common import ids
from aperag_common.bus import subjects
from aperag_common.live.events import TERMINAL, Cursor, TurnEvent, TurnEventKind
from aperag_common.live.publisher import PAGE_BYTES, TurnPublisher
from aperag_common.live.queue import AgentMessageQueue
from aperag_common.live.relays import TurnRelays
from aperag_common.live.sender import Sender
from aperag_common.live.stored import StoredTurn
from aperag_common.testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_common.bus.connection import Bus
    from aperag_common.live.relay import TurnRelay

K = TurnEventKind
STOP: dict[str, Any] = {"outcome": "answered", "usage": {}}
SILENCE = 0.6


class Rows:
    """What the database would say."""

    def __init__(self) -> None:
        self.turn: StoredTurn | None = StoredTurn("CREATING", 1)
        self.reads = 0

    async def __call__(self, _: str) -> StoredTurn | None:
        self.reads += 1
        return self.turn


class Lossy(TurnPublisher):
    """Loses the events with these numbers on their way."""

    def __init__(self, *args: Any, lost: Sequence[int] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.lost = set(lost)

    def _send(self, event: TurnEvent | None) -> None:
        if event is None or event.kind is K.BEAT or event.seq not in self.lost:
            super()._send(event)


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def turn() -> str:
    return ids.new_turn_id()


def relays_of(bus: Bus, rows: Rows) -> TurnRelays:
    return TurnRelays(bus.nc, rows, silence=SILENCE)


def publisher(bus: Bus, turn: str, run: int = 1, lost: Sequence[int] = ()) -> Lossy:
    return Lossy(Sender(bus.nc, together=0.0), turn, run, coalesce=0.0, beat=0.2, lost=lost)


async def read(relay: TurnRelay, after: Cursor | None = None) -> list[TurnEvent]:
    async with asyncio.timeout(30):
        return [event async for event in relay.follow(after)]


def text_of(events: Sequence[TurnEvent]) -> str:
    """As a client shows it."""
    text = ""
    for event in events:
        if event.kind is K.START:
            text = ""
        elif event.kind is K.MESSAGE:
            text += event.data["text"]
    return text


def check(events: Sequence[TurnEvent], text: str) -> None:
    assert text_of(events) == text
    assert [event.kind in TERMINAL for event in events].count(True) == 1
    assert events[-1].kind in TERMINAL


async def say(told: TurnPublisher, *words: str) -> None:
    for word in words:
        await told.text(word)
        await told.settled()  # each in an event of its own


async def test_who_was_there_before_hears_every_piece(bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        reader = asyncio.create_task(read(relay))
        async with publisher(bus, turn) as told:
            await say(told, "a", "b", "c")
            await told.put(K.STOP, STOP)
        check(await reader, "abc")


@pytest.mark.parametrize("lost", [[0], [1], [2, 3], [4], [5], [0, 1, 2, 3, 4, 5], [3, 5], list(range(5))])
async def test_what_got_lost_is_asked_for(lost: list[int], bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        reader = asyncio.create_task(read(relay))
        async with publisher(bus, turn, lost=lost) as told:
            await say(told, "a", "b", "c", "d")
            await told.put(K.STOP, STOP)
            check(await reader, "abcd")


async def test_whoever_comes_late_gets_all_of_it(bus: Bus, rows: Rows, turn: str) -> None:
    relays = relays_of(bus, rows)
    async with publisher(bus, turn) as told:
        await say(told, "a", "b")
        async with relays.open(turn) as relay:
            reader = asyncio.create_task(read(relay))
            await relay.caught_up(within=30)
            async with relays.open(turn) as same:
                assert same is relay
                second = asyncio.create_task(read(same, Cursor(1, 1)))
                await say(told, "c")
                await told.put(K.STOP, STOP)
                check(await reader, "abc")
                assert [it.data.get("text") for it in await second][:-1] in (["bc"], ["b", "c"])
    assert len(relays) == 0


async def test_a_text_of_many_pages_comes_whole(bus: Bus, rows: Rows, turn: str) -> None:
    async with publisher(bus, turn) as told:
        pages = ["차" * (PAGE_BYTES // 6), "b" * PAGE_BYTES, "c" * 700_000]
        await say(told, *pages)
        async with relays_of(bus, rows).open(turn) as relay:
            reader = asyncio.create_task(read(relay))
            await relay.caught_up(within=30)
            await told.put(K.STOP, STOP)
            check(await reader, "".join(pages))


async def test_a_reader_that_takes_its_time_holds_up_nobody(bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        slow = relay.follow()
        quick = asyncio.create_task(read(relay))
        async with publisher(bus, turn) as told:
            await say(told, "a")
            first = [await anext(slow)]
            await say(told, *"bcdefgh")
            await told.put(K.STOP, STOP)
        check(await quick, "abcdefgh")
        rest = [event async for event in slow]
        check([*first, *rest], "abcdefgh")
        assert len(rest) <= 3  # what it had not taken came as one


async def test_a_second_run_begins_the_text_anew_and_the_first_ones_rest_is_dropped(
    bus: Bus, rows: Rows, turn: str
) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        reader = asyncio.create_task(read(relay))
        zombie = publisher(bus, turn)
        async with zombie:
            await say(zombie, "old ")
            await until(lambda: _has(relay, "old "))
            async with publisher(bus, turn, run=2) as told:
                await say(told, "new")
                await say(zombie, "words")
                await zombie.put(K.STOP, STOP)
                await until(lambda: _has(relay, "new"))
                await told.put(K.STOP, STOP)
        events = await reader
        check(events, "new")
        assert [it.run for it in events if it.kind in TERMINAL] == [2]


async def _has(relay: TurnRelay, text: str) -> bool:
    return text_of(relay.log.events) == text


async def test_where_nobody_speaks_any_more_the_row_tells_the_end(bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        reader = asyncio.create_task(read(relay))
        dead = publisher(bus, turn)
        await dead.__aenter__()
        await say(dead, "half ")
        await until(lambda: _has(relay, "half "))
        assert dead._beating is not None
        assert dead._asked is not None
        dead._beating.cancel()
        await dead._asked.unsubscribe()
        part = {"part_id": "1-1", "type": "message", "data": {"text": "half whole"}, "timestamp": 1.0}
        rows.turn = StoredTurn("ACTIVE", 1, "answered", parts=[part])
        events = await reader
        check(events, "half whole")
        assert [it.kind for it in events].count(K.START) == 1


@pytest.mark.parametrize(
    ("stored", "code"),
    [
        (StoredTurn("FAILED", 2, error_code="WORKER_LOST", error_message="lost"), "WORKER_LOST"),
        (None, "TURN_NOT_FOUND"),
    ],
)
async def test_a_turn_that_was_given_up_or_deleted_ends_with_an_error(
    stored: StoredTurn | None, code: str, bus: Bus, rows: Rows, turn: str
) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        reader = asyncio.create_task(read(relay))
        rows.turn = stored
        events = await reader
        check(events, "")
        assert events[-1].data["code"] == code


async def test_a_turn_that_is_over_is_told_from_its_row_alone(bus: Bus, rows: Rows, turn: str) -> None:
    part = {"part_id": "1-1", "type": "message", "data": {"text": "done"}, "timestamp": 1.0}
    rows.turn = StoredTurn("ACTIVE", 3, "answered", parts=[part])
    relays = relays_of(bus, rows)
    async with relays.open(turn) as relay:
        events = await read(relay)
    check(events, "done")
    async with relays.open(turn) as relay:
        assert [it.kind for it in await read(relay, events[1].cursor)] == [K.STOP]


async def test_a_turn_that_waits_for_an_agent_is_not_asked_about_all_the_time(bus: Bus, rows: Rows, turn: str) -> None:
    rows.turn = StoredTurn("PENDING", 0)
    async with relays_of(bus, rows).open(turn) as relay:
        reader = asyncio.create_task(read(relay))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reader), 4.0)
        assert rows.reads <= 6
        async with publisher(bus, turn) as told:
            await say(told, "late")
            await told.put(K.STOP, STOP)
            check(await reader, "late")


async def test_a_subscription_lasts_as_long_as_somebody_reads(bus: Bus, rows: Rows, turn: str) -> None:
    relays = relays_of(bus, rows)
    async with relays.open(turn, new=True, linger=30) as relay:
        pass
    assert len(relays) == 1
    async with relays.open(turn) as same:
        assert same is relay
    assert len(relays) == 1  # it lingers for whoever is about to come
    await relays.close()
    assert len(relays) == 0
    async with publisher(bus, turn) as told:
        await say(told, "unheard")
    assert relay.log.events == []


async def test_what_is_no_event_is_passed_over(bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        reader = asyncio.create_task(read(relay))
        async with publisher(bus, turn) as told:
            for payload in (b"", b"{}", b"\xff\xfe", b"[" * 10_000):
                await bus.nc.publish(subjects.turn_event(turn), payload)
            await say(told, "fine")
            await told.put(K.STOP, STOP)
        check(await reader, "fine")


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_lost_and_whenever_readers_come_all_are_told_the_same(
    seed: int, bus: Bus, rows: Rows, turn: str
) -> None:
    random_ = random.Random(seed)
    words = [f"{number} " for number in range(random_.randrange(1, 25))]
    lost = [number for number in range(len(words) + 2) if random_.random() < 0.3]
    relays = relays_of(bus, rows)
    readers: list[asyncio.Task[list[TurnEvent]]] = []

    async def join(after: Cursor | None = None) -> list[TurnEvent]:
        async with relays.open(turn) as relay:
            return await read(relay, after)

    dies = random_.random() < 0.4
    first = publisher(bus, turn, lost=lost)
    await first.__aenter__()
    for word in words[: len(words) // 2] if dies else words:
        if random_.random() < 0.3:
            readers.append(asyncio.create_task(join()))
        await say(first, word)
        await asyncio.sleep(random_.choice([0, 0, 0.01]))
    readers.append(asyncio.create_task(join()))
    if dies:
        assert first._beating is not None
        assert first._asked is not None
        first._beating.cancel()
        await first._asked.unsubscribe()
        first = publisher(bus, turn, run=2, lost=lost)
        await first.__aenter__()
        await say(first, *words)
    part = {"part_id": "x", "type": "message", "data": {"text": "".join(words)}, "timestamp": 1.0}
    rows.turn = StoredTurn("ACTIVE", first.run, "answered", parts=[part])
    await first.put(K.STOP, STOP)
    await first.__aexit__()
    readers.append(asyncio.create_task(join()))
    for events in await asyncio.gather(*readers):
        check(events, "".join(words))
    assert len(relays) == 0


async def test_the_queue_keeps_its_interface(bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay, publisher(bus, turn) as told:
        writer, reader = AgentMessageQueue(publisher=told), AgentMessageQueue(relay=relay)
        await writer.put({"type": "message", "data": {"text": "tea"}})
        assert (await reader.get() or {})["type"] == "start"
        assert (await reader.get() or {})["data"] == {"text": "tea"}
        assert reader.qsize() == 0
        await writer.put({"type": "tool_call", "data": {}})
        await writer.put({"type": "stop", "data": STOP})
        assert writer.is_closed()
        with pytest.raises(ValueError, match="closed"):
            await writer.put({"type": "message", "data": {"text": "more"}})
        with pytest.raises(ValueError, match="reads"):
            await reader.put({"type": "message", "data": {}})
        await until(lambda: _waiting(reader, 2))
        assert [(await reader.get() or {})["type"] for _ in range(2)] == ["tool_call", "stop"]
        assert not reader.is_closed()
        assert [await reader.get(), await reader.get()] == [None, None]
        assert reader.is_closed()


async def _waiting(queue: AgentMessageQueue, count: int) -> bool:
    return queue.qsize() == count
