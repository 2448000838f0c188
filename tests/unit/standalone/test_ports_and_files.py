"""Ports and private files of one machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from aperag_standalone import files, ports
from aperag_standalone.errors import PortTaken
from aperag_standalone.home import Home, NotWritable


def test_a_free_port_lies_below_the_range_of_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert all(ports.LOWEST <= ports.free_port() < first for _ in range(20))


CHOOSE = """
from aperag_standalone import ports
print(ports.free_port(), flush=True)
input()
"""


def test_a_port_that_another_process_chose_is_its_own_before_anyone_listens_there() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHOOSE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert ports.is_free(port)
        assert not ports.reserve(port)
        other.communicate("\n")
    assert ports.reserve(port)
    assert not ports.reserve(port), "a process chooses no port twice"


def test_a_taken_port_names_its_holder_and_what_to_do() -> None:
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(PortTaken, match=rf"port {port} for the API .*pid {os.getpid()}") as caught:
            ports.require_free(port, purpose="the API", option="--port")
    assert "--port PORT" in caught.value.hint
    ports.require_free(port, purpose="the API", option="--port")


def test_a_secret_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    made = files.secret(path)
    assert len(made) == 2 * files.SECRET_BYTES
    assert files.secret(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_data_directory_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotWritable, match="cannot write to the data directory") as caught:
        Home(tmp_path / "file" / "home").prepare()
    assert "APERAG_HOME" in caught.value.hint
