"""A pull request hands over what comes when it comes, and brings no more than was asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aperag_common import subjects
from aperag_common.bus import pull
from aperag_common.bus.pull import Pull
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from aperag_common.bus.connection import Bus

CONSUMER = "indexer-parse"
PATIENCE = 30.0


async def publish(bus: Bus, count: int) -> None:
    for _ in range(count):
        await bus.js.publish(subjects.PARSE_DOCUMENT, b"{}", stream=subjects.COMMANDS)


async def take(asked: Pull, most: int, count: int = 1) -> list[Msg]:
    """``count`` messages, however they came; a request that nothing answers brings none."""
    taken: list[Msg] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            brought = await asked.next(most)
            assert brought
            taken += brought
    assert len(taken) == count
    return taken


async def test_a_message_does_not_wait_for_the_rest_of_its_request(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "PULL_SECONDS", 10 * PATIENCE)
    asked = await Pull.open(bus, subjects.COMMANDS, CONSUMER)
    await publish(bus, 3)
    await take(asked, 8, 3)
    assert asked.under_way
    await publish(bus, 1)
    await take(asked, 8)


async def test_no_more_comes_than_was_asked_for(bus: Bus) -> None:
    asked = await Pull.open(bus, subjects.COMMANDS, CONSUMER)
    await publish(bus, 5)
    await take(asked, 2, 2)
    assert not asked.under_way
    assert (await bus.js.consumer_info(subjects.COMMANDS, CONSUMER)).num_ack_pending == 2
    await take(asked, 3, 3)


async def test_what_has_come_is_handed_over_together(bus: Bus) -> None:
    asked = await Pull.open(bus, subjects.COMMANDS, CONSUMER)
    await publish(bus, 5)
    [first, *_] = await take(asked, 1)
    await asked._ask(8)

    async def here() -> bool:
        return len(asked._arrived) == 4

    await until(here, every=0.01)
    together = await asked.next(8)
    assert [it.metadata.sequence.stream for it in together] == [
        first.metadata.sequence.stream + it for it in range(1, 5)
    ]


async def test_a_request_that_nothing_answers_ends_with_none(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "PULL_SECONDS", 0.1)
    monkeypatch.setattr(pull, "GRACE_SECONDS", PATIENCE)
    asked = await Pull.open(bus, subjects.COMMANDS, CONSUMER)
    assert await asked.next(1) == []
    assert not asked.under_way


async def test_the_late_end_of_an_earlier_request_is_not_taken_for_that_of_the_present_one(bus: Bus) -> None:
    """A server that stood still tells it when nobody waits any more; two requests would be under way from then on."""
    asked = await Pull.open(bus, subjects.COMMANDS, CONSUMER)
    await publish(bus, 1)
    await take(asked, 1)
    present = asyncio.create_task(asked.next(1))

    async def under_way() -> bool:
        return asked.under_way

    await until(under_way, every=0.01)
    await tell_the_end(bus, f"{asked._inbox}1")
    await publish(bus, 1)
    assert len(await present) == 1
    assert not asked.under_way


async def tell_the_end(bus: Bus, reply: str) -> None:
    """As the server does; it is here when this returns."""
    await bus.nc.publish(reply, headers={"Status": "408", "Description": "Request Timeout"})
    await bus.nc.flush()
