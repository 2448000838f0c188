"""TCP ports of this machine: choosing free ones and naming who holds a taken one."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import http.client
import os
import secrets
import socket
import tempfile
from pathlib import Path

import psutil

from aperag_standalone.errors import PortTaken

LOOPBACK = "127.0.0.1"
LOWEST = 10_240
PROBE_TIMEOUT = 2.0
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _first_ephemeral() -> int:
    try:
        return int(EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose old connections are in TIME_WAIT can be listened on.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


_given: set[int] = set()
"""Ports that this process has chosen: its own locks do not keep it off them."""


@functools.cache
def _reservations() -> int | None:
    """A file of this user's with a byte per port; None where there cannot be one.

    Never closed: the locks on it are this process's for as long as it lives, and nobody else's.
    """
    name = Path(tempfile.gettempdir()) / f"aperag-ports-{os.getuid()}"
    with contextlib.suppress(OSError):
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return None


def reserve(port: int) -> bool:
    """Whether no other process of this user has chosen ``port``; then it is this one's until it ends.

    Between the choice of a port and the server that listens on it seconds can pass, and after a crash again.
    """
    file = _reservations()
    if port in _given:
        return False
    try:
        if file is not None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _given.add(port)
    return True


def free_port() -> int:
    """A free port below the ephemeral range that no other process of this user has chosen either.

    A server that is restarted on an ephemeral port can find it taken by an outgoing connection, even by a client
    that connects to itself while it waits for the server.
    """
    span = max(_first_ephemeral() - LOWEST, 1_000)
    for _ in range(200):
        port = LOWEST + secrets.randbelow(span)
        if is_free(port) and reserve(port):
            return port
    message = "no free TCP port found"
    raise PortTaken(message, hint=f"ports {LOWEST} to {LOWEST + span} all seem taken: see `ss -ltnp`")


def holder(port: int) -> str | None:
    """Name and pid of the process that listens on ``port``, where this user may know it."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or connection.pid is None:
            continue
        if not connection.laddr or connection.laddr.port != port:
            continue
        try:
            return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
        except psutil.NoSuchProcess:
            return None
    return None


def require_free(port: int, *, purpose: str, option: str) -> None:
    """Raise ``PortTaken`` with who holds the port and how to choose another one."""
    if is_free(port):
        return
    by = holder(port) or "another process"
    message = f"port {port} for {purpose} is taken by {by}"
    raise PortTaken(message, hint=f"end it, or choose another port: {option} PORT")


def answers(port: int, path: str) -> bool:
    """Whether a GET of ``path`` on this machine is answered 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
