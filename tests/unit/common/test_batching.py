"""Calls that come together are made together, and an error is told to its own caller only."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from aperag_common.work.batching import Batcher

if TYPE_CHECKING:
    from collections.abc import Sequence

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


class Runs:
    """What was run; the first run waits for ``open``."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.callers: list[str] = []
        self.started = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.callers.append(CALLER.get())
        self.started.set()
        await self.open.wait()
        if any(item < 0 for item in items):
            message = f"negative: {list(items)}"
            raise ValueError(message)
        return [item * 10 for item in items]


async def test_a_lone_call_is_made_at_once() -> None:
    runs = Runs()
    runs.open.set()
    batcher = Batcher(runs)
    assert await batcher.submit(1) == 10
    assert await batcher.submit(2) == 20
    assert runs.batches == [[1], [2]]


async def test_what_comes_during_a_run_shares_the_next_ones_up_to_their_size() -> None:
    runs = Runs()
    batcher = Batcher(runs, most=3)
    first = batcher.submit(1)
    await runs.started.wait()
    later = [batcher.submit(item) for item in (2, 3, 4, 5)]
    runs.open.set()
    assert [await first, *[await future for future in later]] == [10, 20, 30, 40, 50]
    assert runs.batches == [[1], [2, 3, 4], [5]]


async def test_an_error_reaches_only_the_one_whose_item_it_is() -> None:
    runs = Runs()
    batcher = Batcher(runs)
    first = batcher.submit(1)
    await runs.started.wait()
    later = [batcher.submit(item) for item in (2, -3, 4)]
    runs.open.set()
    outcomes = await asyncio.gather(first, *later, return_exceptions=True)
    assert [outcomes[0], outcomes[1], outcomes[3]] == [10, 20, 40]
    assert str(outcomes[2]) == "negative: [-3]"
    assert runs.batches == [[1], [2, -3, 4], [2], [-3], [4]]


async def test_a_call_given_up_before_its_run_is_left_out() -> None:
    runs = Runs()
    batcher = Batcher(runs)
    first = batcher.submit(1)
    await runs.started.wait()
    given_up, kept = batcher.submit(2), batcher.submit(3)
    given_up.cancel()
    runs.open.set()
    assert await first == 10
    assert await kept == 30
    assert runs.batches == [[1], [3]]


async def test_a_caller_that_gives_up_during_the_run_harms_nobody() -> None:
    runs = Runs()
    batcher = Batcher(runs)
    first = batcher.submit(1)
    await runs.started.wait()
    first.cancel()
    runs.open.set()
    assert await batcher.submit(2) == 20
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_batch_runs_in_the_context_of_its_first_caller() -> None:
    runs = Runs()
    batcher = Batcher(runs)

    async def call(caller: str, item: int) -> int:
        CALLER.set(caller)
        return await batcher.submit(item)

    first = asyncio.create_task(call("ann", 1))
    await runs.started.wait()
    second, third = (asyncio.create_task(call(caller, item)) for caller, item in (("bob", 2), ("cho", 3)))
    await asyncio.wait({asyncio.create_task(asyncio.to_thread(lambda: None))})
    runs.open.set()
    assert [await first, await second, await third] == [10, 20, 30]
    assert runs.callers == ["ann", "bob"]


async def test_a_run_waits_for_items_that_are_expected_and_no_longer() -> None:
    runs = Runs()
    runs.open.set()
    batcher = Batcher(runs, expected=lambda waiting: waiting < 3)
    futures = [batcher.submit(1)]
    await asyncio.to_thread(lambda: None)
    assert runs.batches == []
    futures += [batcher.submit(2), batcher.submit(3)]
    assert [await future for future in futures] == [10, 20, 30]
    assert runs.batches == [[1, 2, 3]]


async def test_a_run_does_not_wait_for_ever_for_what_does_not_come() -> None:
    runs = Runs()
    runs.open.set()
    async with asyncio.timeout(5):
        assert await Batcher(runs, expected=lambda _: True).submit(1) == 10
