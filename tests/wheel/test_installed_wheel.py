"""The wheel outside of a checkout: built, installed into a fresh environment of every Python there is, used by a stranger.

Installing asks uv's package index (UV_DEFAULT_INDEX and uv's other settings hold); running asks nobody, and where this
machine lets us make a network without a way out, that is held too.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from aperag_common.version import VERSION

ROOT = Path(__file__).parents[2]
STRANGER = Path(__file__).with_name("stranger.py")
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
PATIENCE = 900.0
LONELY = ("unshare", "--net", "--map-root-user", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""A network of its own, in which only loopback is there."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(2 * PATIENCE)]


def run(*command: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)


@functools.cache
def interpreter(version: str) -> str | None:
    """A Python of this version: on the path, pyenv's, or the one that runs this."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for candidate in (shutil.which(f"python{version}"), *map(str, pyenv), sys.executable):
        if candidate is not None and _is(candidate, version):
            return candidate
    return None


def _is(candidate: str, version: str) -> bool:
    said = run(candidate, "-c", "import sys; print('{}.{}'.format(*sys.version_info))", cwd=Path("/"))
    return said.returncode == 0 and said.stdout.strip() == version


@functools.cache
def lonely() -> tuple[str, ...]:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return ()
    return LONELY if run(*LONELY, "true", cwd=Path("/")).returncode == 0 else ()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (made,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")))
    return Path(made)


def environment(tmp_path: Path) -> dict[str, str]:
    """Little more than a path and an empty home: no setting of the developer's, no checkout."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("OPENBLAS_CORETYPE",) if name in os.environ}  # noqa: TID251  of the machine
    return kept | {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "NO_COLOR": "1"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stranger_installs_the_wheel_and_uses_everything(version: str, wheel: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    uv = str(ROOT / ".tools" / "venv" / "bin" / "uv")
    installed, folder = tmp_path / "installed", tmp_path / "folder"
    folder.mkdir()
    for step in (
        ("venv", "--python", python, str(installed)),
        ("pip", "install", "--python", str(installed / "bin" / "python"), "--compile-bytecode", str(wheel)),
    ):
        done = run(uv, *step, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    command = (*lonely(), str(installed / "bin" / "python"), "-P", str(STRANGER), VERSION)
    used = run(*command, cwd=folder, env=environment(tmp_path))
    assert used.returncode == 0, used.stdout + used.stderr
