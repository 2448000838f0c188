"""``justw`` on machines that are not fit, and from anywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy with a blank in its path, and on PATH nothing but the basic tools."""
    made = tmp_path / "a checkout"
    made.mkdir()
    for name in ("justw", "justfile"):
        shutil.copy2(CHECKOUT / name, made / name)
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "dirname", "cat", "cut", "cksum", "mkdir"):
        (tools / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    return made


def justw(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(checkout.parent / "bin"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [str(checkout / "justw"), *arguments], env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False
    )


def install_python(checkout: Path, script: str) -> None:
    fake = checkout.parent / "bin" / "python3"
    fake.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    fake.chmod(0o755)


def test_no_python_at_all_is_said(checkout: Path) -> None:
    done = justw(checkout, "up")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr


def test_a_too_old_python_is_named(checkout: Path) -> None:
    install_python(checkout, 'case "$2" in *print*) echo 3.8 ;; *) exit 1 ;; esac')
    done = justw(checkout, "up")
    assert done.returncode == 1
    assert "python3 is 3.8" in done.stderr


def test_a_python_without_venv_is_named_with_the_package_to_install(checkout: Path) -> None:
    install_python(checkout, 'case "$2" in *print*) echo 3.12 ;; *ensurepip*) exit 1 ;; *) exit 0 ;; esac')
    done = justw(checkout, "up")
    assert done.returncode == 1
    assert "python3-venv" in done.stderr


def test_the_output_of_a_failed_installation_is_shown(checkout: Path) -> None:
    install_python(checkout, 'case "$*" in *print*) echo 3.12 ;; *"-m venv"*) echo no space left; exit 1 ;; esac')
    done = justw(checkout, "up")
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert "this failed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("bench", "dispatch", "--vs", "celery"), "bench.txt"),
        (("bench", "dispatch", "--vs", "pgqueuer", "--vs", "procrastinate"), "bench.txt"),
        (("bench", "dispatch", "--vs=all"), "bench.txt"),
        (("bench", "pipeline", "--vs=celery", "-o", "json"), "bench.txt"),
        (("bench", "ingest"), "dev.txt"),
        (("aperag", "search", "celery"), "run.txt"),
    ],
)
def test_what_is_only_measured_is_installed_only_where_it_is_asked_for(
    checkout: Path, arguments: tuple[str, ...], wanted: str
) -> None:
    install_python(checkout, 'case "$*" in *print*) echo 3.12 ;; esac')
    tools = checkout / ".tools" / "venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("uv", "just"):
        version = re.search(rf"^{name.upper()}_VERSION=(.+)$", (CHECKOUT / "justw").read_text("utf-8"), re.MULTILINE)
        assert version is not None
        script = f'[ "$1" != --version ] || echo {name} {version[1]}; echo "$@" >>"$0.log"'
        (tools / name).write_text(f'#!/bin/sh\n{script}\n[ "$1 $2" != "pip install" ]\n', encoding="utf-8")
        (tools / name).chmod(0o755)
    assert justw(checkout, *arguments).returncode == 1
    assert f"-r requirements/{wanted}" in (tools / "uv.log").read_text(encoding="utf-8")
