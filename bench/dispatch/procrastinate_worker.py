"""A worker process of procrastinate, and the application that it shares with its caller."""

from __future__ import annotations

import asyncio
import sys

from procrastinate import App, PsycopgConnector

from bench.dispatch.task import SLOTS, WAIT_SECONDS, Task

CONNECTIONS = 4
"""psycopg's default for a pool."""


async def noop() -> None:
    pass


async def wait() -> None:
    await asyncio.sleep(WAIT_SECONDS)


def make_app(url: str, *, connections: int = CONNECTIONS) -> App:
    app = App(connector=PsycopgConnector(conninfo=url, min_size=connections, max_size=connections))
    app.task(name=Task.NOOP.value)(noop)
    app.task(name=Task.WAIT.value)(wait)
    return app


async def serve(url: str) -> None:
    async with make_app(url).open_async() as app:
        await app.run_worker_async(concurrency=SLOTS)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
