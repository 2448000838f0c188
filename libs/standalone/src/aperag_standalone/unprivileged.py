"""How PostgreSQL, which refuses root, is run when this process is root."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, assert_never

from aperag_standalone.errors import CannotRunAsRoot

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65_534
MAPPED = 1_000
PROBE_TIMEOUT = 10.0


class Way(StrEnum):
    """``direct`` for users, the others for root."""

    DIRECT = "direct"
    USER_NAMESPACE = "user namespace"
    SETPRIV = "setpriv"


@cache
def way() -> Way:
    """The best way this machine offers; a user namespace needs no change of owners or modes."""
    if os.geteuid() != 0:
        return Way.DIRECT
    if _namespaces_work():
        return Way.USER_NAMESPACE
    if shutil.which("setpriv"):
        return Way.SETPRIV
    message = "PostgreSQL refuses to run as root, and neither user namespaces nor setpriv work here"
    raise CannotRunAsRoot(message, hint="run as an ordinary user, or install util-linux (unshare, setpriv)")


def _namespaces_work() -> bool:
    if shutil.which("unshare") is None:
        return False
    try:
        done = subprocess.run([*_namespace(), "true"], capture_output=True, timeout=PROBE_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _namespace() -> tuple[str, ...]:
    return (shutil.which("unshare") or "unshare", "--user", f"--map-user={MAPPED}", f"--map-group={MAPPED}")


def prefix(chosen: Way) -> tuple[str, ...]:
    """What to put before a command; it execs, so the pid stays the command's own."""
    match chosen:
        case Way.DIRECT:
            return ()
        case Way.USER_NAMESPACE:
            return _namespace()
        case Way.SETPRIV:
            identity = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            # The kernel forgets the parent-death signal when the uid changes: set it after.
            return (shutil.which("setpriv") or "setpriv", *identity, "--pdeathsig", "INT")
        case _:
            assert_never(chosen)


def passable(chosen: Way) -> int:
    """Mode of a directory that leads to the data: another user must be able to pass, not to list."""
    return 0o711 if chosen is Way.SETPRIV else 0o700


def hand_over(chosen: Way, path: Path) -> None:
    """Let the user that ``chosen`` runs as own ``path``."""
    if chosen is Way.SETPRIV:
        os.chown(path, NOBODY, NOBODY)


def require_reachable(chosen: Way, *paths: Path) -> None:
    """A closed parent directory would surface as "error while loading shared libraries": name it instead."""
    if chosen is not Way.SETPRIV:
        return
    for path in paths:
        for parent in path.resolve().parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                message = f"PostgreSQL must run as an ordinary user here, and {parent} is closed to others"
                raise CannotRunAsRoot(
                    message,
                    hint=f"chmod o+x {parent}, or allow user namespaces, or keep APERAG_HOME and the installation elsewhere",
                )
