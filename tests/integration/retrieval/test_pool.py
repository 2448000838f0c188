"""Processes are started on demand, isolate crashes and never outlive their parent."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from aperag_common import errors
from aperag_common.pool import ComputedTooLong, ProcessPool, compute_longer

PARENT = """
import asyncio, os
from aperag_common.pool import ProcessPool

async def main():
    pool = ProcessPool(2)
    print(*await asyncio.gather(pool.run(os.getpid), pool.run(os.getpid)), flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""


SERVICE = """
import asyncio, json, os, socket, sys
sys.path.insert(0, {tests!r})
from aperag_common.pool import ProcessPool
from aperag_common.process import run_process
from tests.integration.retrieval.test_pool import look_around, reach_out

async def main():
    pool = ProcessPool(1)
    told = await pool.run(look_around, os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server:
        told["network"] = await pool.run(reach_out, server.getsockname()[1])
    told["apart"] = await pool.run(os.readlink, "/proc/self/ns/net") != os.readlink("/proc/self/ns/net")
    print(json.dumps(told))
    await pool.close()

if __name__ == "__main__":
    run_process(main())
"""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: str) -> str:
    path = Path(marker)
    if not path.exists():
        path.touch()
        die()
    return "survived"


def hang(marker: str) -> None:
    Path(marker).write_text(str(os.getpid()))
    threading.Event().wait()


def double(number: int) -> int:
    return number * 2


def blas_threads() -> str | None:
    """As a library of this process reads it while it is loaded."""
    inherited: dict[str, str] = psutil.Process().environ()
    return inherited.get("OPENBLAS_NUM_THREADS")


def reach_out(port: int) -> str:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as err:
        return type(err).__name__
    return "connected"


def look_around(parent: int) -> dict[str, str]:
    """What a reader that was taken over would try."""
    found = {"environment": " ".join(psutil.Process().environ()), "privileges": Path("/proc/self/status").read_text()}
    try:
        found["parent"] = Path(f"/proc/{parent}/environ").read_text(errors="replace")
    except OSError as err:
        found["parent"] = type(err).__name__
    return found


def compute_for_ever() -> None:
    while True:
        hashlib.sha256(b"x" * 10_000_000).digest()  # in code that looks for no signal


def compute_longer_than_allowed() -> str:
    compute_longer(60)
    end = time.process_time() + 1.2
    while time.process_time() < end:
        pass
    return "done"


def refuse() -> None:
    raise errors.Terminal("unreadable", code="CORRUPT_DOCUMENT")


def pid_behind(barrier: str, parties: int) -> int:
    """Answer once ``parties`` processes stand in the directory ``barrier``."""
    (Path(barrier) / str(os.getpid())).touch()
    poll = threading.Event()
    while len(list(Path(barrier).iterdir())) < parties:
        poll.wait(0.01)
    return os.getpid()


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Poll what no event tells of: another process's end, or a file it writes."""
    poll = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.to_thread(poll.wait, 0.02)


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    pool = ProcessPool(2, abandoned_seconds=0.2)
    yield pool
    await pool.close()


def children() -> set[int]:
    """Living ones of ours that are pool processes."""
    found: set[int] = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # ended, though perhaps not reaped yet
            if "spawn_main" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


async def test_no_process_is_started_before_the_first_call(pool: ProcessPool) -> None:
    before = children()
    assert await pool.run(double, 21) == 42
    assert len(children() - before) == 1


async def test_calls_run_in_as_many_processes_as_there_are_workers(pool: ProcessPool, tmp_path: Path) -> None:
    first, second = await asyncio.gather(*(pool.run(pid_behind, str(tmp_path), 2) for _ in range(2)))
    assert len({first, second, os.getpid()}) == 3


async def test_a_time_limit_counts_the_call_and_not_the_wait_for_a_process(tmp_path: Path) -> None:
    pool = ProcessPool(1, abandoned_seconds=0.1)
    marker = tmp_path / "pid"
    assert await pool.run(double, 1) == 2
    hanging = asyncio.ensure_future(pool.run(hang, str(marker), seconds=6.0))
    await until(marker.exists)
    assert await pool.run(double, 21, seconds=5.0) == 42  # it waited longer for the process, and started one
    with pytest.raises(TimeoutError):
        await hanging
    await pool.close()


async def test_an_error_keeps_its_code_on_the_way_back(pool: ProcessPool) -> None:
    with pytest.raises(errors.Terminal, match="unreadable") as raised:
        await pool.run(refuse)
    assert raised.value.error_code == "CORRUPT_DOCUMENT"


async def test_only_the_call_that_kills_its_process_fails(pool: ProcessPool) -> None:
    guilty, *innocent = await asyncio.gather(
        pool.run(die), *(pool.run(double, number) for number in range(8)), return_exceptions=True
    )
    assert isinstance(guilty, errors.Retryable)
    assert guilty.error_code == "WORKER_CRASHED"
    assert innocent == [0, 2, 4, 6, 8, 10, 12, 14]


async def test_a_call_whose_process_was_killed_is_run_once_more(pool: ProcessPool, tmp_path: Path) -> None:
    assert await pool.run(die_once, str(tmp_path / "died")) == "survived"


async def test_a_process_killed_while_idle_is_replaced(pool: ProcessPool) -> None:
    first = await pool.run(os.getpid)
    os.kill(first, signal.SIGKILL)
    assert await pool.run(os.getpid) != first


async def test_a_cancelled_caller_is_free_at_once_and_its_hung_process_is_killed(
    pool: ProcessPool, tmp_path: Path
) -> None:
    marker = tmp_path / "pid"
    call = asyncio.ensure_future(pool.run(hang, str(marker)))
    await until(lambda: marker.exists() and marker.read_text() != "")
    call.cancel()
    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert time.monotonic() - started < 0.1
    pid = int(marker.read_text())
    await until(lambda: not psutil.pid_exists(pid))
    (barrier := tmp_path / "both").mkdir()
    pids = await asyncio.gather(*(pool.run(pid_behind, str(barrier), 2) for _ in range(2)))
    assert len(set(pids)) == 2, "the slot of the killed process must serve again"


async def test_an_idle_process_rests_and_the_next_call_starts_another() -> None:
    pool = ProcessPool(1, idle_seconds=0.05)
    first = await pool.run(os.getpid)
    await until(lambda: not psutil.pid_exists(first))
    assert await pool.run(os.getpid) != first
    await pool.close()


async def test_closing_ends_running_calls_and_leaves_no_process(tmp_path: Path) -> None:
    before = children()
    pool = ProcessPool(1)
    marker = tmp_path / "pid"
    running = asyncio.ensure_future(pool.run(hang, str(marker)))
    waiting = asyncio.ensure_future(pool.run(double, 1))
    await until(marker.exists)
    await pool.close()
    with pytest.raises(errors.Busy):
        await running
    with pytest.raises(errors.Busy):
        await waiting
    assert children() == before


async def test_children_see_one_blas_thread_and_the_initializer(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    pool = ProcessPool(1, initializer=Path.touch, initargs=(marker,))
    assert await pool.run(blas_threads) == "1"
    assert marker.exists()
    await pool.close()


async def test_no_process_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        await asyncio.to_thread(parent.stdout.readline)
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 2
        parent.kill()
    await until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in family))


async def test_a_process_has_no_network_no_secrets_and_no_way_to_its_parent(tmp_path: Path) -> None:
    """The attack: a document takes its reader over."""
    script = tmp_path / "service.py"
    script.write_text(SERVICE.format(tests=str(Path(__file__).parents[3])))
    secrets = {"APERAG_SECRET_KEY": "hidden-0", "APERAG_POSTGRES__URL": "hidden-1", "JWT_SECRET": "hidden-2"}
    inherited = {**psutil.Process().environ(), **secrets}
    done = await asyncio.create_subprocess_exec(sys.executable, str(script), env=inherited, stdout=subprocess.PIPE)
    output, _ = await done.communicate()
    told = json.loads(output)
    assert "NoNewPrivs:\t1" in told["privileges"]
    assert "CapEff:\t0000000000000000" in told["privileges"]
    assert not any(name in told["environment"] for name in secrets)
    if not told["apart"]:
        pytest.skip("this kernel makes no namespaces for this user")
    assert "hidden" not in told["parent"]
    assert told["network"] != "connected"


async def test_owners_share_the_processes_and_one_comes_in_though_all_are_taken(tmp_path: Path) -> None:
    """The attack: documents that take minutes, more of them than there are processes."""
    pool = ProcessPool(2, guests=True, abandoned_seconds=0.1)
    markers = [tmp_path / str(number) for number in range(8)]
    attack = [asyncio.ensure_future(pool.run(hang, str(marker), owner="mallory")) for marker in markers]
    await until(lambda: sum(map(Path.exists, markers)) == 2)
    assert await pool.run(double, 21, owner="alice") == 42
    assert sum(map(Path.exists, markers)) == 2
    for call in attack:
        call.cancel()
    await pool.close()


async def test_a_guest_that_stays_too_long_makes_room_for_the_next_one(tmp_path: Path) -> None:
    pool = ProcessPool(1, guests=True, guest_seconds=4.0, abandoned_seconds=0.1)
    names = ("mallory", "malcolm")
    attack = [asyncio.ensure_future(pool.run(hang, str(tmp_path / name), owner=name)) for name in names]
    await until((tmp_path / "mallory").exists)
    assert await pool.run(double, 21, owner="alice") == 42
    for call in attack:
        call.cancel()
    await pool.close()


async def test_a_call_that_computes_too_long_ends_without_being_run_again() -> None:
    pool = ProcessPool(1)
    with pytest.raises(ComputedTooLong):
        await pool.run(compute_for_ever, cpu_seconds=1)
    assert await pool.run(double, 21, cpu_seconds=1) == 42
    assert await pool.run(compute_longer_than_allowed, cpu_seconds=1) == "done"
    await pool.close()
