"""What a process gives up before it reads what strangers wrote: the network, its capabilities, its parent's memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import sys
from pathlib import Path

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_NO_NEW_PRIVILEGES = 38
_CAPABILITIES_V3 = 0x20080522
OPEN_FILES = 512
_SECRET = re.compile(r"^APERAG_|SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|(?:^|_)KEY(?:_|$)", re.IGNORECASE)


def forget_secrets() -> None:
    """Settings have been read: children inherit no setting of ours, and nothing else that is called a secret."""
    for name in [name for name in os.environ if _SECRET.search(name)]:  # noqa: TID251  nothing is read from it
        del os.environ[name]  # noqa: TID251


def confine() -> bool:
    """First thing in a process, while it has one thread. False where this kernel leaves it the network.

    In a user namespace of its own it may neither trace its parent nor read its parent's environment, although both belong
    to the same user.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return sys.platform == "linux" and _leave()


def _leave() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    apart = bool(libc.unshare(_NEW_USER | _NEW_NET) == 0)
    if apart:
        with contextlib.suppress(OSError):  # then its user has no name inside, which costs nothing
            Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    # It would have all capabilities inside its namespace; nothing that reads needs one.
    head = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    libc.capset(head, (ctypes.c_uint32 * 6)())
    return apart
