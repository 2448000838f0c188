"""Clients in other languages, and the programs that `aperag nats context` prints, as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.api.outside.clients import INGEST, fact

from aperag_cli.commands.snippets import SNIPPETS, Connection
from aperag_common import subjects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.api.outside.clients import Person

    from aperag_common.bus.connection import Bus

JAVASCRIPT = Path(__file__).parent / "javascript"
INSTALL_SECONDS, CLIENT_SECONDS = 60, 30


@asynccontextmanager
async def program(*command: str, cwd: Path, **env: str) -> AsyncIterator[asyncio.StreamReader]:
    """Its output; ended with the block."""
    inherited = dict(os.environ)  # noqa: TID251  as a shell would start it
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, cwd=cwd, env=inherited | env, stdout=pipe, stderr=None)
    assert child.stdout is not None
    try:
        yield child.stdout
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def line(output: asyncio.StreamReader) -> str:
    return (await asyncio.wait_for(output.readline(), CLIENT_SECONDS)).decode().strip()


async def connection_of(person: Person) -> Connection:
    access = (await person.http.get("/nats")).json()
    return Connection(tuple(access["servers"]), person.key, access["inbox_prefix"], access["owner"], None)


async def heard(operator: Bus, person: Person, output: asyncio.StreamReader) -> str:
    """The first event that the program prints; those that come before it listens are nobody's."""
    reading = asyncio.create_task(line(output))
    while not reading.done():
        await fact(operator, person.id)
        await asyncio.wait([reading], timeout=0.1)
    return await reading


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which programs find the JavaScript client of NATS."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed (it comes with Node.js)")
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(JAVASCRIPT / name, folder / name)
    installing = asyncio.create_subprocess_exec(npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder)

    async def install() -> int:
        child = await installing
        return await asyncio.wait_for(child.wait(), INSTALL_SECONDS)

    if asyncio.run(install()) != 0:
        pytest.skip("npm cannot install the client: it needs a registry")
    return folder


async def test_the_printed_program_in_python_prints_events(alice: Person, operator: Bus, tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(SNIPPETS["python"](await connection_of(alice)), encoding="utf-8")
    async with program(sys.executable, "client.py", cwd=tmp_path, APERAG_API_KEY=alice.key) as output:
        assert await heard(operator, alice, output) == f"aperag.evt.{alice.id}.document.indexed {{}}"


async def test_the_printed_program_in_javascript_prints_events(alice: Person, operator: Bus, node: Path) -> None:
    (node / "printed.mjs").write_text(SNIPPETS["javascript"](await connection_of(alice)), encoding="utf-8")
    async with program("node", "printed.mjs", cwd=node, APERAG_API_KEY=alice.key) as output:
        assert await heard(operator, alice, output) == f"aperag.evt.{alice.id}.document.indexed {{}}"


async def test_the_client_of_another_language_reads_pulls_publishes_and_is_refused(
    alice: Person, operator: Bus, node: Path
) -> None:
    made: dict[str, Any] = (await alice.http.post("/subscriptions", json={"name": "js"})).json()
    connection = await connection_of(alice)
    env = {
        "SERVER": connection.url,
        "APERAG_API_KEY": alice.key,
        "INBOX_PREFIX": connection.inbox_prefix,
        "OWNER": alice.id,
        "STREAM": made["stream"],
        "CONSUMER": made["consumer"],
    }
    async with program("node", "client.mjs", cwd=node, **env) as output:
        assert await line(output) == "subscribed"
        await fact(operator, alice.id)
        found = json.loads(await line(output))
    event = f"aperag.evt.{alice.id}.document.indexed"
    assert found == {
        "live": event,
        "pulled": event,
        "pending": 0,
        "published": INGEST,
        "refused": [subjects.PARSE_DOCUMENT],
    }
