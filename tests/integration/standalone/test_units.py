"""A unit keeps one process alive, kills what a dead one leaves behind, and tells every change."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
import pytest
import pytest_asyncio

from aperag_standalone import process
from aperag_standalone.errors import StartFailed
from aperag_standalone.supervisor.rotation import RotatingLog
from aperag_standalone.supervisor.state import UnitStatus
from aperag_standalone.supervisor.unit import Backoff, Unit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    Watch = Callable[["Script"], "Watched"]

PATIENCE = 10.0
# Who is ready is ended at once by some tests: what it says comes before.
SERVE = "import pathlib, signal, sys; print('up', flush=True); pathlib.Path(sys.argv[1]).touch(); signal.pause()"
WITH_A_WORKER = "import subprocess; subprocess.Popen(['sleep', '600']);" + SERVE
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SERVE


@dataclass
class Script:
    """A process that is ready once it touched its file."""

    directory: Path
    code: str = SERVE
    name: str = "script"
    grace: float = PATIENCE
    listens_on: int | None = None
    signs: list[Path] = field(default_factory=list)

    def prepare(self) -> process.Command:
        self.signs.append(self.directory / f"ready-{len(self.signs)}")
        return process.Command((sys.executable, "-c", self.code, str(self.signs[-1])), grace=self.grace)

    def ready(self) -> bool:
        return self.signs[-1].exists()


class Watched:
    """A unit and a way to wait for what it becomes."""

    def __init__(self, script: Script) -> None:
        self.log = RotatingLog(script.directory / "script.log")
        self.changed = asyncio.Event()
        self.unit = Unit(script, self.log, changed=self.changed.set, backoff=Backoff(first=0.01, cap=0.05))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@pytest_asyncio.fixture
async def watch() -> AsyncIterator[Watch]:
    """Makes units, and ends them."""
    made: list[Watched] = []

    def make(script: Script) -> Watched:
        made.append(Watched(script))
        return made[-1]

    yield make
    for watched in made:
        await watched.unit.stop()
        watched.log.close()


async def test_a_killed_process_is_started_again_and_counted(tmp_path: Path, watch: Watch) -> None:
    watched = watch(Script(tmp_path))
    unit = watched.unit
    await unit.start(within=PATIENCE)
    first = unit.state.pid
    psutil.Process(first).kill()
    await watched.until(lambda: unit.state.restarts == 1 and unit.state.status is UnitStatus.READY)
    assert unit.state.pid != first
    await unit.stop()
    assert unit.state.status is UnitStatus.STOPPED
    assert watched.log.path.read_text(encoding="utf-8").count("up") == 2


async def test_what_a_killed_process_had_started_dies_with_it(tmp_path: Path, watch: Watch) -> None:
    watched = watch(Script(tmp_path, WITH_A_WORKER))
    unit = watched.unit
    await unit.start(within=PATIENCE)
    parent = psutil.Process(unit.state.pid)
    workers = parent.children()
    assert workers
    parent.kill()
    # The worker holds the output pipe of its parent: waiting for that to close would wait for ever.
    await watched.until(lambda: unit.state.restarts == 1 and unit.state.status is UnitStatus.READY)
    assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == []
    await unit.stop()


async def test_a_process_deaf_to_its_stop_signal_is_killed_after_its_grace(tmp_path: Path, watch: Watch) -> None:
    watched = watch(Script(tmp_path, DEAF, grace=0.1))
    await watched.unit.start(within=PATIENCE)
    child = psutil.Process(watched.unit.state.pid)
    await watched.unit.stop()
    assert not child.is_running()


async def test_stop_between_two_lives_ends_it(tmp_path: Path, watch: Watch) -> None:
    script = Script(tmp_path)
    watched = watch(script)
    await watched.unit.start(within=PATIENCE)
    script.code = "raise SystemExit(1)"
    psutil.Process(watched.unit.state.pid).kill()
    await watched.until(lambda: watched.unit.state.restarts >= 3)
    await watched.unit.stop()
    assert watched.unit.state.status is UnitStatus.STOPPED


async def test_a_process_that_never_lives_fails_the_start_with_its_last_words(tmp_path: Path, watch: Watch) -> None:
    watched = watch(Script(tmp_path, "raise SystemExit('bad configuration')"))
    with pytest.raises(StartFailed, match="before it was ready") as caught:
        await watched.unit.start(within=PATIENCE)
    assert "bad configuration" in caught.value.hint
    await watched.unit.stop()


async def test_a_process_that_is_never_ready_fails_the_start(tmp_path: Path, watch: Watch) -> None:
    watched = watch(Script(tmp_path, "import signal; signal.pause()"))
    with pytest.raises(StartFailed, match="not ready after"):
        await watched.unit.start(within=0.2)
    await watched.unit.stop()


def test_a_process_dies_with_the_one_that_started_it(tmp_path: Path) -> None:
    ours = (
        "import pathlib, sys; from signal import Signals; from aperag_standalone import process;"
        "log = open(sys.argv[1], 'ab');"
        "child = process.spawn(process.Command(('/bin/sleep', '600')), log=log);"
        "print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", ours, str(tmp_path / "log")], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert psutil.wait_procs([child], timeout=PATIENCE)[1] == []
