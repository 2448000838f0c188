"""One supervisor per data directory; the kernel gives the lock back however its holder ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from pydantic import ValidationError

from aperag_standalone import process
from aperag_standalone.errors import AlreadyRunning
from aperag_standalone.supervisor.options import StackOptions

if TYPE_CHECKING:
    import psutil

    from aperag_standalone.home import Home

MODULE = "aperag_standalone.supervisor"


def acquire(home: Home) -> int:
    """Hold the lock for the life of this process; the file names the holder."""
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(descriptor)
        raise taken(home) from err
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode("ascii"))
    return descriptor


def holder(home: Home) -> psutil.Process | None:
    """The supervisor of ``home``; asked without touching the lock, which a starting one may be about to take."""
    return process.find(home.lock, lambda it: _supervises(it, home))


def taken(home: Home) -> AlreadyRunning:
    found = holder(home)
    by = "another process" if found is None else f"supervisor pid {found.pid}"
    message = f"a stack already runs on {home.directory} ({by})"
    return AlreadyRunning(message, hint="see `aperag status`; end it with `aperag down`")


def _supervises(candidate: psutil.Process, home: Home) -> bool:
    arguments = candidate.cmdline()
    try:
        return MODULE in arguments and StackOptions.model_validate_json(arguments[-1]).home == home.directory
    except ValidationError:
        return False
