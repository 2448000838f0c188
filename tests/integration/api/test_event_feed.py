"""The gateway's one consumer of the event stream ends when it is told to, whatever it is doing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from aperag_api.kernel.memory import Memories
from aperag_api.kernel.revocations import Revocations
from aperag_api.kernel.streaming.fanout import Fanout, Signal
from aperag_api.operations.events.feed import Feed
from aperag_common import errors, subjects
from aperag_common.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus


async def test_a_feed_closes_at_any_moment_of_its_start(
    bus: Bus, engine: AsyncEngine, see_stream: Callable[[], Awaitable[int]]
) -> None:
    await see_stream()
    for turns in range(60):
        feed = Feed(bus, engine, Fanout(1), Revocations(Memories(timedelta(0))), Metrics("api"))
        feed.start()
        for _ in range(turns):
            await bus.nc.flush()
        await asyncio.wait_for(feed.close(), 5)
        assert await feed.check() is not None


async def test_a_feed_waits_for_the_reconciler_to_see_the_stream(
    bus: Bus, engine: AsyncEngine, see_stream: Callable[[], Awaitable[int]]
) -> None:
    feed = Feed(bus, engine, Fanout(1), Revocations(Memories(timedelta(0))), Metrics("api"))
    feed.start()
    with pytest.raises(errors.UpstreamUnavailable):
        await feed.known(seconds=0.1)
    epoch = await see_stream()
    assert (await feed.known(seconds=5)).epoch == epoch
    await feed.close()


async def test_closing_tells_every_listener(bus: Bus, engine: AsyncEngine) -> None:
    fanout = Fanout(1)
    feed = Feed(bus, engine, fanout, Revocations(Memories(timedelta(0))), Metrics("api"))
    feed.start()
    with fanout.listen("user1") as listener:
        await feed.close()
        assert await listener.take() == [Signal.CLOSED]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"\xff", b'{"data": 1}', b'{"data": {"document_id": 1}}', b"[" * 100_000]
)
async def test_what_is_no_event_is_counted_and_holds_up_nothing(
    body: bytes, bus: Bus, engine: AsyncEngine, see_stream: Callable[[], Awaitable[int]]
) -> None:
    """The attack: one service is taken over, and its events are none."""
    await see_stream()
    fanout, metrics = Fanout(10), Metrics("api")
    feed = Feed(bus, engine, fanout, Revocations(Memories(timedelta(0))), metrics)
    feed.start()
    await feed.known(seconds=5)
    subject = subjects.event("alice", "document", "parsed")
    with fanout.listen("alice") as listener:
        await bus.js.publish(subject, body)
        await bus.js.publish(subject, b'{"id": "1", "data": {"document_id": "doc1"}}')
        async with asyncio.timeout(10):
            [event] = await listener.take()
        assert not isinstance(event, Signal)
        assert event.document_id == "doc1"
    assert metrics.registry.get_sample_value("aperag_unreadable_events_total") == 1
    await feed.close()
