"""Celery's worker processes, and what tells whether they are done."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aperag_standalone.process import Command
from bench.celery import app as celery_app
from bench.errors import BenchError
from bench.harness.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING")
"""What only costs here: nobody watches these workers, and each logs two lines per task otherwise."""


class Pool(StrEnum):
    """How a worker runs tasks side by side."""

    THREADS = "threads"
    PREFORK = "prefork"


@dataclass(frozen=True, slots=True)
class Shape:
    """``processes`` workers of ``slots`` threads; with prefork one worker whose children are the processes."""

    pool: Pool
    processes: int
    slots: int

    @property
    def workers(self) -> int:
        return self.processes if self.pool is Pool.THREADS else 1

    @property
    def concurrency(self) -> int:
        return self.slots if self.pool is Pool.THREADS else self.processes


def worker_processes(name: str, module: str, shape: Shape, folder: Path, environment: Mapping[str, str]) -> Processes:
    """``module`` holds the tasks and is imported by each worker."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | dict(environment)
    options = (f"--pool={shape.pool}", f"--concurrency={shape.concurrency}", *QUIET)
    commands = [
        Command((sys.executable, "-m", "celery", "-A", module, "worker", *options, "-n", f"{name}-{n}"), env, ROOT)
        for n in range(shape.workers)
    ]
    return Processes(name, commands, folder)


def await_ready(app: Any, workers: Processes) -> None:
    """All of them answer."""
    deadline = time.monotonic() + READY_SECONDS
    while len(app.control.ping(timeout=0.5) or ()) < workers.size:
        if time.monotonic() > deadline:
            message = "Celery's workers did not answer"
            raise BenchError(message, hint=workers.log_tail())


def is_drained(client: Any) -> bool:
    """Nothing waits and nothing is unacknowledged; ``client`` is the transport's Redis client."""
    return not client.llen(celery_app.QUEUE) and not client.hlen(celery_app.UNACKED)
