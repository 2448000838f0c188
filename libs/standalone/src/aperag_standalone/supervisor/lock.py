"""One supervisor per data directory; the kernel gives the lock back however its holder ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from aperag_standalone.errors import AlreadyRunning

if TYPE_CHECKING:
    from pathlib import Path


def acquire(path: Path) -> int:
    """Hold the lock for the life of this process; the file names the holder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(descriptor)
        message = f"a stack already runs on {path.parent.parent} (supervisor pid {holder(path)})"
        raise AlreadyRunning(message, hint="see `aperag status`; end it with `aperag down`") from err
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode("ascii"))
    return descriptor


def holder(path: Path) -> int | None:
    """The pid that holds the lock now."""
    try:
        with path.open("r+", encoding="ascii") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(stream.read() or 0) or None
    except OSError:
        return None
    return None
