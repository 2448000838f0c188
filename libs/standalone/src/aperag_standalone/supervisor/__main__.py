"""``python -m aperag_standalone.supervisor OPTIONS``: composition root of the supervisor's process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import structlog

from aperag_common import logs
from aperag_standalone.errors import StandaloneError
from aperag_standalone.home import Home
from aperag_standalone.supervisor import lock
from aperag_standalone.supervisor.options import StackOptions
from aperag_standalone.supervisor.stack import Stack

log = structlog.get_logger(__name__)


async def supervise(options: StackOptions) -> int:
    """Run until told to stop; the exit code says whether the stack ever became ready."""
    stack = Stack(options, env=os.environ)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    starting = asyncio.create_task(stack.start())
    stopping = asyncio.create_task(told.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    failure = starting.exception() if starting.done() else None
    if failure is None:
        await stopping
    starting.cancel()
    await stack.stop()
    if failure is not None:
        log.error("stack.failed", exc_info=failure)
        stack.fail(_reason(failure))
    return 0 if failure is None else 1


def _reason(failure: BaseException) -> str:
    if isinstance(failure, BaseExceptionGroup):
        return "\n".join(_reason(it) for it in failure.exceptions)
    return str(failure) if isinstance(failure, StandaloneError) else repr(failure)


def main() -> int:
    options = StackOptions.model_validate_json(sys.argv[1])
    home = Home(options.home)
    home.prepare()
    logs.configure("INFO", json=True, service="supervisor")
    lock.acquire(home)
    return asyncio.run(supervise(options))


if __name__ == "__main__":
    sys.exit(main())
