"""The same two tasks for Celery; imported by its workers and, by name only, known to its caller."""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import time

from bench.celery.app import worker_app
from bench.dispatch.task import WAIT_SECONDS, Task

app = worker_app()


@app.task(name=Task.NOOP.value)
def noop() -> None:
    pass


@app.task(name=Task.WAIT.value)
def wait() -> None:
    time.sleep(WAIT_SECONDS)
