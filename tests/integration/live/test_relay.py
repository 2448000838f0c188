"""Turns followed over the real server: what is lost on the way is healed, and everybody is told one end."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from aperag_agent.live.publisher import PAGE_BYTES, TurnPublisher
from aperag_agent.live.sender import Sender
from aperag_api.conversation.live.relays import TurnRelays
from aperag_api.conversation.live.stored import StoredTurn
from aperag_api.conversation.live.subscriber import TurnSubscriber
from aperag_common import ids, subjects
from aperag_common.live.events import TERMINAL, Cursor, TurnEvent, TurnEventKind
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aperag_api.conversation.live.relay import TurnRelay
    from aperag_common.bus.connection import Bus
    from aperag_common.live.queue import Message

K = TurnEventKind
STOP: Message = {"type": K.STOP, "data": {"outcome": "answered", "usage": {}}}
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

    def _send(self, event: TurnEvent) -> None:
        if event.kind is K.BEAT or event.seq not in self.lost:
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


async def read(relay: TurnRelay, after: Cursor | None = None) -> list[Message]:
    return await rest_of(TurnSubscriber(relay, after))


async def rest_of(queue: TurnSubscriber) -> list[Message]:
    got: list[Message] = []
    async with asyncio.timeout(30):
        while (message := await queue.get()) is not None:
            got.append(message)
    return got


def text_of(messages: Iterable[Message]) -> str:
    """As a client shows it."""
    text = ""
    for message in messages:
        if message["type"] == K.START:
            text = ""
        elif message["type"] == K.MESSAGE:
            text += message["data"]["text"]
    return text


def check(messages: Sequence[Message], text: str) -> None:
    assert text_of(messages) == text
    assert [message["type"] in TERMINAL for message in messages].count(True) == 1
    assert messages[-1]["type"] in TERMINAL


async def say(told: TurnPublisher, *words: str) -> None:
    for word in words:
        await told.put({"type": K.MESSAGE, "data": {"text": word}})
        await told.settled()  # each in an event of its own


async def test_who_was_there_before_hears_every_piece(bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        reader = asyncio.create_task(read(relay))
        async with publisher(bus, turn) as told:
            await say(told, "a", "b", "c")
            await told.put(STOP)
        check(await reader, "abc")


@pytest.mark.parametrize("lost", [[0], [1], [2, 3], [4], [5], [0, 1, 2, 3, 4, 5], [3, 5], list(range(5))])
async def test_what_got_lost_is_asked_for(lost: list[int], bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        reader = asyncio.create_task(read(relay))
        async with publisher(bus, turn, lost=lost) as told:
            await say(told, "a", "b", "c", "d")
            await told.put(STOP)
            check(await reader, "abcd")


async def test_whoever_comes_late_gets_all_of_it(bus: Bus, rows: Rows, turn: str) -> None:
    relays = relays_of(bus, rows)
    async with publisher(bus, turn) as told:
        await say(told, "a", "b")
        async with relays.open(turn) as relay:
            reader = asyncio.create_task(read(relay))
            await until(lambda: _knows(relay))
            async with relays.open(turn) as same:
                assert same is relay
                second = asyncio.create_task(read(same, Cursor(1, 1)))
                await say(told, "c")
                await told.put(STOP)
                check(await reader, "abc")
                assert [it["data"].get("text") for it in await second][:-1] in (["bc"], ["b", "c"])
    assert len(relays) == 0


async def test_a_text_of_many_pages_comes_whole(bus: Bus, rows: Rows, turn: str) -> None:
    async with publisher(bus, turn) as told:
        pages = ["차" * (PAGE_BYTES // 6), "b" * PAGE_BYTES, "c" * 700_000]
        await say(told, *pages)
        async with relays_of(bus, rows).open(turn) as relay:
            reader = asyncio.create_task(read(relay))
            await until(lambda: _knows(relay))
            await told.put(STOP)
            check(await reader, "".join(pages))


async def test_a_reader_that_takes_its_time_holds_up_nobody(bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        slow = TurnSubscriber(relay)
        quick = asyncio.create_task(read(relay))
        async with publisher(bus, turn) as told:
            await say(told, "a")
            first = await slow.get()
            assert first is not None
            await say(told, *"bcdefgh")
            await told.put(STOP)
        check(await quick, "abcdefgh")
        rest = await rest_of(slow)
        check([first, *rest], "abcdefgh")
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
                await zombie.put(STOP)
                await until(lambda: _has(relay, "new"))
                await told.put(STOP)
        events = await reader
        check(events, "new")
        assert [it["id"][:2] for it in events if it["type"] in TERMINAL] == ["2-"]


async def _has(relay: TurnRelay, text: str) -> bool:
    return text_of(event.message for event in relay.log.events) == text


async def _knows(relay: TurnRelay) -> bool:
    return bool(relay.log.events)


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
        assert [it["type"] for it in events].count(K.START) == 1


async def test_where_the_agent_closes_without_an_end_the_row_tells_it(bus: Bus, rows: Rows, turn: str) -> None:
    async with relays_of(bus, rows).open(turn, new=True) as relay:
        reader = TurnSubscriber(relay)
        async with publisher(bus, turn) as told:
            await say(told, "half ")
        part = {"part_id": "1-1", "type": "message", "data": {"text": "half whole"}, "timestamp": 1.0}
        rows.turn = StoredTurn("ACTIVE", 1, "answered", parts=[part])
        check(await rest_of(reader), "half whole")
        assert [await reader.get(), await reader.get()] == [None, None]


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
        assert events[-1]["data"]["code"] == code


async def test_a_turn_that_is_over_is_told_from_its_row_alone(bus: Bus, rows: Rows, turn: str) -> None:
    part = {"part_id": "1-1", "type": "message", "data": {"text": "done"}, "timestamp": 1.0}
    rows.turn = StoredTurn("ACTIVE", 3, "answered", parts=[part])
    relays = relays_of(bus, rows)
    async with relays.open(turn) as relay:
        events = await read(relay)
    check(events, "done")
    async with relays.open(turn) as relay:
        assert [it["type"] for it in await read(relay, Cursor.parse(events[1]["id"]))] == [K.STOP]


async def test_a_turn_that_waits_for_an_agent_is_not_asked_about_all_the_time(bus: Bus, rows: Rows, turn: str) -> None:
    rows.turn = StoredTurn("PENDING", 0)
    async with relays_of(bus, rows).open(turn) as relay:
        reader = asyncio.create_task(read(relay))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reader), 4.0)
        assert rows.reads <= 6
        async with publisher(bus, turn) as told:
            await say(told, "late")
            await told.put(STOP)
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
            await told.put(STOP)
        check(await reader, "fine")


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_lost_and_whenever_readers_come_all_are_told_the_same(
    seed: int, bus: Bus, rows: Rows, turn: str
) -> None:
    random_ = random.Random(seed)
    words = [f"{number} " for number in range(random_.randrange(1, 25))]
    lost = [number for number in range(len(words) + 2) if random_.random() < 0.3]
    relays = relays_of(bus, rows)
    readers: list[asyncio.Task[list[Message]]] = []

    async def join(after: Cursor | None = None) -> list[Message]:
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
    rows.turn = StoredTurn("ACTIVE", 2 if dies else 1, "answered", parts=[part])
    await first.put(STOP)
    await first.__aexit__()
    readers.append(asyncio.create_task(join()))
    for events in await asyncio.gather(*readers):
        check(events, "".join(words))
    assert len(relays) == 0
