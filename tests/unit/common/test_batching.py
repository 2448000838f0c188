"""Calls that come together are made together, and an error is told to its own caller only."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from aperag_work.batching import BLOCKED, Batcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_work.batching import Blocked

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


async def test_what_is_held_up_is_run_again_alone_and_holds_nobody_up() -> None:
    batches: list[list[int]] = []
    freed = asyncio.Event()

    async def run(items: Sequence[int]) -> list[int | Blocked]:
        batches.append(list(items))
        if items == [2]:
            await freed.wait()
            return [20]
        return [BLOCKED if item == 2 else item * 10 for item in items]

    batcher: Batcher[int, int] = Batcher(run)
    futures = [batcher.submit(item) for item in (1, 2, 3)]
    assert [await futures[0], await futures[2], await batcher.submit(4)] == [10, 30, 40]
    assert not futures[1].done()
    freed.set()
    assert await futures[1] == 20
    assert batches[0] == [1, 2, 3]


async def test_a_run_is_no_heavier_than_it_may_be() -> None:
    runs = Runs()
    batcher = Batcher(runs, weight=lambda item: item, heaviest=10)
    first = batcher.submit(1)
    await runs.started.wait()
    later = [batcher.submit(item) for item in (4, 5, 6, 50, 1)]
    runs.open.set()
    await asyncio.gather(first, *later)
    assert runs.batches == [[1], [4, 5], [6], [50], [1]]


async def test_what_cannot_be_reached_is_tried_once_more_and_not_for_every_item() -> None:
    tried: list[list[int]] = []

    async def run(items: Sequence[int]) -> list[int]:
        tried.append(list(items))
        raise ConnectionRefusedError

    batcher: Batcher[int, int] = Batcher(run, unreachable=(OSError,))
    futures = [batcher.submit(item) for item in (1, 2, 3)]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionRefusedError] * 3
    assert tried == [[1, 2, 3], [1]]


async def test_an_item_that_is_run_again_has_its_own_callers_context() -> None:
    runs = Runs()
    batcher = Batcher(runs)

    async def call(caller: str, item: int) -> int:
        CALLER.set(caller)
        return await batcher.submit(item)

    first = asyncio.create_task(call("ann", 1))
    await runs.started.wait()
    others = [asyncio.create_task(call(caller, item)) for caller, item in (("bob", -2), ("cho", 3))]
    await asyncio.wait({asyncio.create_task(asyncio.to_thread(lambda: None))})
    runs.open.set()
    await asyncio.gather(first, *others, return_exceptions=True)
    assert runs.callers == ["ann", "bob", "bob", "cho"]


async def test_nobody_waits_for_a_run_that_was_cancelled() -> None:
    runs = Runs()
    batcher = Batcher(runs)
    first = batcher.submit(1)
    await runs.started.wait()
    second = batcher.submit(2)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2


async def test_an_answer_of_the_wrong_length_is_an_error_for_those_who_wait() -> None:
    async def run(_: Sequence[int]) -> list[int]:
        return []

    batcher: Batcher[int, int] = Batcher(run)
    with pytest.raises(ValueError, match="zip"):
        await batcher.submit(1)


async def test_idle_returns_when_nothing_waits_or_runs_also_what_is_run_alone() -> None:
    freed = asyncio.Event()

    async def run(items: Sequence[int]) -> list[int | Blocked]:
        if len(items) > 1:
            return [BLOCKED] * len(items)
        await freed.wait()
        return [items[0] * 10]

    batcher: Batcher[int, int] = Batcher(run)
    await batcher.idle()
    futures = [batcher.submit(item) for item in (1, 2)]
    idle = asyncio.create_task(batcher.idle())
    await asyncio.to_thread(lambda: None)
    assert not idle.done()
    freed.set()
    await idle
    assert [future.result() for future in futures] == [10, 20]
