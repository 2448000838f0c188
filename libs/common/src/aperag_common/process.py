"""What a process is called among its replicas, and when it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from typing import TYPE_CHECKING

import structlog

try:
    import uvloop
except ImportError:  # it is not made for Windows
    uvloop = None  # type: ignore[assignment]

from aperag_common.confinement import forget_secrets

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from aperag_common.settings import ProcessSettings

log = structlog.get_logger(__name__)

INSTANCE_LENGTH = 64


def instance_of(settings: ProcessSettings) -> str:
    # The end tells replicas apart; the lease column holds no more.
    return (settings.instance or f"{socket.gethostname()}-{os.getpid()}")[-INSTANCE_LENGTH:]


def run_process(main: Coroutine[Any, Any, None]) -> None:
    """A process's whole life, on the quickest event loop there is here; its settings have been read."""
    forget_secrets()
    with asyncio.Runner(loop_factory=None if uvloop is None else uvloop.new_event_loop) as runner:
        runner.run(main)


async def until_stopped() -> None:
    """Returns at the first SIGTERM or SIGINT.

    What was made until here lives as long as the process: the garbage collector need not walk over it again and again,
    which would hold up everything for a tenth of a second each time.
    """
    gc.collect()
    gc.freeze()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
    log.info("service.stopping")
