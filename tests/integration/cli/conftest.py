"""The command line against the real stack: in this process where an answer is enough, as a child where signals are."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from aperag_cli.app import app
from aperag_testing.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from typer.testing import Result

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Aperag:
    """The command line with a stack's data directory; ``env`` overrides what is set."""

    stack: Stack

    def environment(self, env: Mapping[str, str | None]) -> dict[str, str | None]:
        plain: dict[str, str | None] = {
            "NO_COLOR": "1",
            "COLUMNS": None,
            "APERAG_API_URL": None,
            "APERAG_API_KEY": None,
        }
        return plain | {"APERAG_HOME": str(self.stack.home)} | dict(env)

    def __call__(self, *arguments: str, **env: str | None) -> Result:
        return CliRunner().invoke(app, [*arguments], env=self.environment(env))

    def json(self, *arguments: str, code: int = 0, **env: str | None) -> Any:
        ended = self(*arguments, "-o", "json", **env)
        assert ended.exit_code == code, ended.output
        return json.loads(ended.stdout)

    @asynccontextmanager
    async def started(self, *arguments: str, **env: str | None) -> AsyncIterator[asyncio.subprocess.Process]:
        """A child, ended at the latest with the block."""
        ours = dict(os.environ)  # noqa: TID251  the command line is a root of its own
        wanted = {name: value for name, value in (ours | self.environment(env)).items() if value is not None}
        program = str(Path(sys.executable).with_name("aperag"))
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(program, *arguments, env=wanted, stdout=pipe, stderr=pipe)
        try:
            yield child
        finally:
            if child.returncode is None:
                child.kill()
            await child.communicate()


@dataclass(slots=True)
class Road:
    """A way to the gateway that breaks: ``budget`` bytes pass towards it, then nothing until ``cut`` or ``mend``."""

    url: str = ""
    budget: float = float("inf")
    full: asyncio.Event = field(default_factory=asyncio.Event)
    _free: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Every connection breaks; new ones are made as before."""
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self.budget = float("inf")
        self._free.set()
        self.cut()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        self._writers.add(writer)
        try:
            while block := await reader.read(64 * 1024):
                self.budget -= len(block) if counted else 0
                if counted and self.budget < 0:
                    self.full.set()
                    await self._free.wait()
                writer.write(block)
                await writer.drain()
        except (ConnectionError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


@pytest.fixture
async def road(stack: Stack) -> AsyncIterator[Road]:
    gateway = urlsplit(stack.url)
    road = Road()
    carrying: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(gateway.hostname, gateway.port)
        for task in (road.carry(reader, back, counted=True), road.carry(there, writer, counted=False)):
            carrying.add(asyncio.create_task(task))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    road.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    yield road
    server.close()
    for task in carrying:
        task.cancel()
    await asyncio.gather(*carrying, return_exceptions=True)


@pytest.fixture(scope="session")
def stack(shared_stack: Stack) -> Stack:
    return shared_stack


@pytest.fixture
def aperag(stack: Stack) -> Aperag:
    return Aperag(stack)


@pytest.fixture
def collection(aperag: Aperag) -> str:
    """The title of an empty collection of this test's own."""
    title = f"Notes {uuid.uuid4().hex}"
    aperag.json("collections", "create", title, "--language", "en-US")
    return title


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "documents"
    (made / "guides").mkdir(parents=True)
    (made / "tea.md").write_text("# Tea\n\nGreen tea is steeped at seventy degrees.", encoding="utf-8")
    (made / "guides" / "whales.md").write_text("# Whales\n\nA whale breathes air.", encoding="utf-8")
    (made / ".hidden.md").write_text("hidden", encoding="utf-8")
    (made / "run.exe").write_text("program", encoding="utf-8")
    return made
