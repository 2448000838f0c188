"""A bound on the memory that reading one document may take."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
_STATUS = Path("/proc/self/statm")
_DATA = 5
"""Place of the data segment in it, in pages."""


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """The process may take ``more`` bytes beyond what it has; without /proc only the machine bounds it.

    Code that cannot go on without memory ends its process, which costs its document one attempt.
    """
    taken = _taken()
    if taken is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = taken + more
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    except MemoryError:
        message = f"Reading the document takes more than {more // MIB} MB of memory. Split it and upload the parts."
        raise errors.CorruptDocument(message) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _taken() -> int | None:
    try:
        return int(_STATUS.read_text(encoding="ascii").split()[_DATA]) * resource.getpagesize()
    except OSError:
        return None
