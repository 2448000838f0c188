"""``aperag doctor`` finds what is wrong, and each finding says what to do."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aperag_cli.stack import doctor
from aperag_standalone import ports
from aperag_standalone.home import Home

if TYPE_CHECKING:
    from pathlib import Path


def findings(directory: Path, *, port: int) -> dict[str, doctor.Finding]:
    return {it.subject: it for it in doctor.findings_of(Home(directory), port=port, env={})}


def test_a_fit_machine_needs_nothing_done(tmp_path: Path) -> None:
    found = findings(tmp_path / "home", port=ports.free_port())
    assert [it for it in found.values() if it.remedy and it.subject != "bytecode"] == []
    assert found["stack"].seen == "not running"


def test_a_taken_port_and_an_unusable_directory_come_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, 0))
        listener.listen()
        found = findings(tmp_path / "file" / "home", port=listener.getsockname()[1])
    assert "--port" in found["API port"].remedy
    assert "APERAG_HOME" in found["data directory"].remedy
