"""Loops that run as long as their process."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from aperag_common.tasks import end_tasks, repeat


async def test_a_run_that_fails_is_not_the_last_and_the_log_says_what_nobody_foresaw() -> None:
    errors: list[Exception] = [ConnectionResetError(), KeyError("x")]
    enough = asyncio.Event()

    async def work() -> None:
        if errors:
            raise errors.pop(0)
        enough.set()

    with capture_logs() as lines:
        running = asyncio.create_task(repeat(work, every=600, failed="work.failed", expected=(OSError,), again=0))
        async with asyncio.timeout(10):
            await enough.wait()
        await end_tasks(running)
    assert [(line["event"], line["exc_info"]) for line in lines] == [("work.failed", False), ("work.failed", True)]


async def test_whoever_wakes_a_loop_has_its_next_run_at_once() -> None:
    runs, woken = asyncio.Queue[int](), asyncio.Event()

    async def work() -> None:
        runs.put_nowait(1)

    running = asyncio.create_task(repeat(work, every=600, failed="work.failed", woken=woken))
    async with asyncio.timeout(10):
        await runs.get()
        woken.set()
        await runs.get()
    await end_tasks(running)
