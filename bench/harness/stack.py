"""A stack of the benchmark's own: started in a temporary folder, on free ports, removed at the end."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_standalone import unprivileged
from aperag_testing.stack import Stack
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def empty_stack(settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Not yet started; ``settings`` are added to the caller's environment. Whatever runs at the end is stopped."""
    with tempfile.TemporaryDirectory(prefix="aperag-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(unprivileged.passable(unprivileged.way()))
        stack = Stack(folder / "home", {**os.environ, **(settings or {})})
        try:
            yield stack
        finally:
            stack.down()


def start(stack: Stack, *options: str) -> None:
    """Returns when everything is ready."""
    started = stack.up(*options)
    if started.returncode:
        message = "the stack did not start"
        raise BenchError(message, hint=f"{started.stdout}{started.stderr}".strip())


@contextmanager
def running_stack(*options: str, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    with empty_stack(settings) as stack:
        start(stack, *options)
        yield stack
