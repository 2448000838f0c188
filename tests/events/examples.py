"""The examples of docs/events.md, each by the name that stands behind its language."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from aperag_common.tasks import end_tasks

PAGE = Path(__file__).parents[2] / "docs" / "events.md"
FENCE = re.compile(r"^```(?P<language>\w+) (?P<name>\S+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
BY_LANGUAGE = {"sh": ("bash", "-euo", "pipefail"), "python": ("python",), "js": ("node",)}
AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Example:
    language: str
    name: str
    body: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader of the page stands: the values that it speaks of, and something that happens when it is asked for."""

    env: Mapping[str, str]
    happen: Callable[[], Awaitable[object]]


def examples() -> dict[str, Example]:
    found = [Example(**it.groupdict()) for it in FENCE.finditer(PAGE.read_text(encoding="utf-8"))]
    return {it.name: it for it in found}


@asynccontextmanager
async def running(
    name: str, env: Mapping[str, str], home: Path, *, python: str, change: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example as it stands, but for ``change``; ended with the block."""
    example = examples()[name]
    body = example.body
    for old, new in (change or {}).items():
        assert old in body, f"{name} does not hold {old}"
        body = body.replace(old, new)
    source = home / name
    source.write_text(body, encoding="utf-8")
    command = [python if it == "python" else it for it in BY_LANGUAGE[example.language]]
    env = {**os.environ, **env}  # noqa: TID251  the caller's PATH
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, str(source), cwd=home, env=env, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        yield process
    finally:
        end(process)
        await process.wait()


def end(process: asyncio.subprocess.Process) -> None:
    """With what it has started: a shell's children would keep its output open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, Signals.SIGKILL)


async def told(process: asyncio.subprocess.Process, part: str, place: Place, *, within: float = 30.0) -> str:
    """The first printed line with ``part``; what is waited for happens again and again, for it may be too early at first."""
    assert process.stdout is not None
    reading = asyncio.create_task(_line_with(process, part))
    try:
        async with asyncio.timeout(within):
            while not reading.done():
                await place.happen()
                await asyncio.wait([reading], timeout=AGAIN_SECONDS)
    except TimeoutError:
        await end_tasks(reading)
        end(process)
        _, errors = await process.communicate()
        message = f"nothing with {part!r} was printed; {errors.decode()}"
        raise AssertionError(message) from None
    return await reading


async def printed(process: asyncio.subprocess.Process) -> str:
    """All that it prints; it must end well."""
    out, errors = await process.communicate()
    assert process.returncode == 0, out.decode() + errors.decode()
    return out.decode()


async def _line_with(process: asyncio.subprocess.Process, part: str) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    while line := await process.stdout.readline():
        if part in line.decode():
            return line.decode()
    message = f"it ended: {(await process.stderr.read()).decode()}"
    raise AssertionError(message)
