"""How many connections a process can hold."""

from __future__ import annotations

import resource

import structlog

log = structlog.get_logger(__name__)

OTHER_DESCRIPTORS = 256
"""Of a process: the pool of its database, the bus, what its libraries hold open."""
DESCRIPTORS_PER_CONNECTION = 2
"""Its socket, and the document that it brings or fetches."""


def use_all_descriptors() -> int:
    """Ask for as many file descriptors as this process may have; how many connections they suffice for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError) as err:  # some systems call unlimited what they do not grant
            log.info("descriptors.kept", limit=soft, error=repr(err))
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    return max(1, (soft - OTHER_DESCRIPTORS) // DESCRIPTORS_PER_CONNECTION)
