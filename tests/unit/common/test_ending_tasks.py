"""A task is ended however often it has to be told."""

from __future__ import annotations

import asyncio

from aperag_common.tasks import end_tasks


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.Event().wait())]
    await asyncio.wait([asyncio.create_task(asyncio.to_thread(lambda: None))])
    async with asyncio.timeout(30):
        await end_tasks(*tasks)
    assert (swallowed, [task.cancelled() for task in tasks]) == (3, [True, True])


async def test_ending_tasks_that_have_ended_or_failed_raises_nothing() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await end_tasks(task)
    await end_tasks()
