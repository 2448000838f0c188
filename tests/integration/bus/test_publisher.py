"""Publishing on a real server: acknowledged one by one or as one atomic batch, deduplicated, refused with a reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from aperag_common import errors, subjects
from aperag_common.bus import publish, topology
from aperag_common.bus.declared import Undeclared, declared_for
from aperag_common.bus.publish import ATOMIC_FROM, ATOMIC_UP_TO, Outgoing, Published, Publisher
from aperag_common.services import Service
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nats.aio.msg import Msg

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_standalone.nats import NatsServer

NEW, KNOWN = Published(), Published(duplicate=True)
BATCH = "Nats-Batch-Id"


@pytest.fixture
def publisher(bus: Bus, metrics: Metrics) -> Publisher:
    return Publisher(bus, metrics, declared_for(Service.RECONCILER))


def commands(numbers: Iterable[int]) -> list[Outgoing]:
    return [Outgoing(subjects.PARSE_DOCUMENT, b"%d" % number, f"id-{number}") for number in numbers]


async def kept(bus: Bus, stream: str = subjects.COMMANDS) -> list[tuple[bytes, str]]:
    """Body and batch of all messages of a stream, in its order."""
    state = (await bus.js.stream_info(stream)).state
    found = [await bus.js.get_msg(stream, state.first_seq + number) for number in range(state.messages)]
    return [(it.data or b"", (it.headers or {}).get(BATCH, "")) for it in found]


def counted(metrics: Metrics, result: str, kind: str = subjects.PARSE_DOCUMENT) -> float:
    return float(metrics.publishes.labels(kind, result)._value.get())


@pytest.mark.parametrize(
    ("count", "batches"),
    [(1, 0), (ATOMIC_FROM - 1, 0), (ATOMIC_FROM, 1), (ATOMIC_UP_TO + 1, 1), (ATOMIC_UP_TO + ATOMIC_FROM, 2)],
)
async def test_many_messages_go_as_atomic_batches_and_few_one_by_one(
    bus: Bus, metrics: Metrics, publisher: Publisher, count: int, batches: int
) -> None:
    assert await publisher.publish(subjects.COMMANDS, commands(range(count))) == [NEW] * count
    found = await kept(bus)
    assert sorted(int(body) for body, _ in found) == list(range(count))
    assert len({batch for _, batch in found if batch}) == batches
    assert sum(not batch for _, batch in found) == (count % ATOMIC_UP_TO if count % ATOMIC_UP_TO < ATOMIC_FROM else 0)
    assert counted(metrics, "ok") == count


@pytest.mark.parametrize("count", [3, ATOMIC_FROM])
async def test_what_the_server_knows_already_is_told_and_kept_once(bus: Bus, publisher: Publisher, count: int) -> None:
    """One id that the server knows refuses a batch as a whole: the others must get there all the same."""
    assert await publisher.publish(subjects.COMMANDS, commands([1])) == [NEW]
    expected = [KNOWN if number == 1 else NEW for number in range(count)]
    assert await publisher.publish(subjects.COMMANDS, commands(range(count))) == expected
    assert sorted(int(body) for body, _ in await kept(bus)) == list(range(count))
    assert await publisher.publish(subjects.COMMANDS, commands(range(count))) == [KNOWN] * count
    assert len(await kept(bus)) == count


async def test_an_id_that_stands_in_a_batch_twice_is_kept_once(bus: Bus, publisher: Publisher) -> None:
    answers = await publisher.publish(subjects.COMMANDS, commands([0, *range(ATOMIC_FROM)]))
    assert answers.count(KNOWN) == 1
    assert sorted(int(body) for body, _ in await kept(bus)) == list(range(ATOMIC_FROM))


async def test_a_stream_that_takes_no_batches_gets_every_message_alone(bus: Bus, publisher: Publisher) -> None:
    """As a stream that an older version made, until the reconciler has changed it."""
    older = topology.stream(subjects.COMMANDS).config()
    older.allow_atomic = False
    await bus.js.update_stream(older)
    assert await publisher.publish(subjects.COMMANDS, commands(range(ATOMIC_FROM))) == [NEW] * ATOMIC_FROM
    found = await kept(bus)
    assert (sorted(int(body) for body, _ in found), {batch for _, batch in found}) == ([*range(ATOMIC_FROM)], {""})


async def test_a_batch_whose_answer_is_lost_is_not_doubled(
    bus: Bus, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear, lost = publisher._on_answer, iter([True])

    async def hear_badly(message: Msg) -> None:
        if not next(lost, False):
            await hear(message)

    monkeypatch.setattr(publish, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(publisher, "_on_answer", hear_badly)
    assert await publisher.publish(subjects.COMMANDS, commands(range(ATOMIC_FROM))) == [KNOWN] * ATOMIC_FROM
    assert len(await kept(bus)) == ATOMIC_FROM


@pytest.mark.parametrize("count", [2, ATOMIC_FROM])
async def test_each_message_that_a_full_stream_refuses_is_answered_in_its_place(
    bus: Bus, metrics: Metrics, publisher: Publisher, count: int
) -> None:
    small = topology.stream(subjects.COMMANDS).config()
    small.max_msgs = 1
    await bus.js.update_stream(small)
    answers = await publisher.publish(subjects.COMMANDS, commands(range(count)))
    refused = [it for it in answers if isinstance(it, errors.UpstreamUnavailable)]
    assert [it.error_code for it in refused] == ["FULL"] * (count - 1)
    [stored] = [number for number, it in enumerate(answers) if it == NEW]
    assert [int(body) for body, _ in await kept(bus)] == [stored]
    assert (counted(metrics, "full"), counted(metrics, "ok")) == (count - 1, 1)


@pytest.mark.parametrize("count", [1, ATOMIC_FROM])
async def test_what_is_meant_for_another_stream_is_refused(bus: Bus, publisher: Publisher, count: int) -> None:
    answers = await publisher.publish(subjects.EVENTS, commands(range(count)))
    assert [it.error_code for it in answers if isinstance(it, errors.UpstreamUnavailable)] == ["REFUSED"] * count
    assert (await kept(bus), await kept(bus, subjects.EVENTS)) == ([], [])


async def test_a_stream_that_is_not_there_is_no_error_but_an_answer(bus: Bus, publisher: Publisher) -> None:
    await bus.js.delete_stream(subjects.COMMANDS)
    started = time.monotonic()
    for count in (1, ATOMIC_FROM):
        answers = await publisher.publish(subjects.COMMANDS, commands(range(count)))
        assert [isinstance(it, errors.UpstreamUnavailable) for it in answers] == [True] * count
    assert time.monotonic() - started < publish.ANSWER_SECONDS  # the server says so at once


async def test_without_a_server_every_message_is_answered_at_once_and_goes_later(
    bus: Bus, metrics: Metrics, publisher: Publisher, nats_server: NatsServer
) -> None:
    nats_server.kill()

    async def away() -> bool:
        return not bus.connected

    await until(away, every=0.01)
    answers = await publisher.publish(subjects.COMMANDS, commands(range(ATOMIC_FROM)))
    assert {type(it) for it in answers} == {errors.UpstreamUnavailable}
    assert counted(metrics, "unavailable") == len(answers) == ATOMIC_FROM
    nats_server.start()

    async def back() -> bool:
        return bus.connected

    await until(back)
    assert await publisher.publish(subjects.COMMANDS, commands(range(ATOMIC_FROM))) == [NEW] * ATOMIC_FROM


@pytest.mark.parametrize("subject", ["aperag.cmd.document.unheard-of", "aperag.evt.user1.document.unheard-of", "x"])
async def test_what_nobody_declared_is_not_sent_nor_what_goes_with_it(
    bus: Bus, publisher: Publisher, subject: str
) -> None:
    with pytest.raises(Undeclared, match=subject):
        await publisher.publish(subjects.COMMANDS, [*commands([1]), Outgoing(subject, b"{}")])
    assert await kept(bus) == []


async def test_a_service_sends_nothing_that_another_one_declares(bus: Bus, metrics: Metrics) -> None:
    agent = Publisher(bus, metrics, declared_for(Service.AGENT))
    with pytest.raises(Undeclared):
        await agent.publish(subjects.COMMANDS, commands([1]))
    told = Outgoing(subjects.event("user1", "step", "dead_lettered"), b"{}")
    assert await agent.publish(subjects.EVENTS, [told]) == [NEW]


async def test_a_tick_is_not_sent_while_an_earlier_one_of_its_timer_waits(bus: Bus, publisher: Publisher) -> None:
    assert [await publisher.tick("outbox") for _ in range(2)] == [True, False]
    assert await publisher.tick("collection-gc")
    await bus.js.purge_stream(subjects.TICKS)
    assert await publisher.tick("outbox")
    await bus.js.delete_stream(subjects.TICKS)
    with pytest.raises(errors.UpstreamUnavailable):
        await publisher.tick("outbox")
    with pytest.raises(Undeclared):
        await publisher.tick("unheard-of")
