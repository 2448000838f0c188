"""Webhooks on a whole stack: the service comes and goes with them, the guide's receiver works as it stands."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_standalone import ports
from aperag_testing.client import Client
from aperag_testing.stack import Stack, rows_of, running
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(240)

GUIDE = Path(__file__).parents[3] / "docs" / "webhooks.md"
NAME = "webhooks"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"APERAG_OUTBOUND__ALLOW": '["127.0.0.1"]'}
    with running(tmp_path_factory.mktemp("webhooks") / "home", settings=settings) as started:
        yield started


def aperag(stack: Stack, *arguments: str) -> Any:
    done = stack.aperag(*arguments, "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def status(stack: Stack) -> str | None:
    units = {unit["name"]: unit["status"] for unit in stack.state()["units"]}
    return units.get(NAME)


async def becomes(stack: Stack, wanted: str | None) -> None:
    async def so() -> bool:
        return status(stack) == wanted

    await until(so, within=90, every=0.05)


async def test_the_guides_receiver_gets_what_happens_also_after_kills(stack: Stack, tmp_path: Path) -> None:
    assert status(stack) is None
    port = ports.free_port()
    url = f"http://127.0.0.1:{port}/"
    webhook = aperag(stack, "webhooks", "create", url, "--type", "collection.deleted")
    await becomes(stack, "ready")
    [source] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    script = tmp_path / "receiver.py"
    script.write_text(source, encoding="utf-8")
    env = {**os.environ, "WEBHOOK_SECRET": webhook["secret"]}  # noqa: TID251  the receiver's own
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        str(port),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert child.stdout is not None
    try:
        await listening(port)
        aperag(stack, "webhooks", "test", webhook["id"])
        assert await line(child.stdout) == f"webhook.test {webhook['id']}"
        async with Client(stack.url, stack.api_key) as client:
            gone = [await client.collection(f"c{number}") for number in range(10)]
            for number, collection in enumerate(gone):
                await client.json("DELETE", f"/collections/{collection}")
                if number == 5:
                    stack.kill(NAME)
            told = {await line(child.stdout) for _ in gone}
        assert told == {f"collection.deleted {collection}" for collection in gone}
    finally:
        child.kill()
        await child.wait()
    assert "whsec_" not in "".join(stack.log(it) for it in (NAME, "api", "reconciler", "supervisor"))
    found = aperag(stack, "webhooks", "deliveries", webhook["id"], "--status", "delivered")
    assert len(found) == 11
    await commands(stack, webhook["id"], found[0]["id"])
    aperag(stack, "webhooks", "delete", webhook["id"], "--yes")
    await becomes(stack, None)
    assert stack.aperag("status").returncode == 0


async def test_a_receiver_that_is_gone_is_told_of_under_the_services_own_identities(stack: Stack) -> None:
    """PostgreSQL lets its role disable the webhook and write the fact, NATS lets it relay it."""

    async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
        writer.write(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(gone, "127.0.0.1", 0) as server, rows_of(stack) as engine:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        webhook = await asyncio.to_thread(aperag, stack, "webhooks", "create", url)
        await asyncio.to_thread(aperag, stack, "webhooks", "test", webhook["id"])

        async def relayed() -> bool:
            async with engine.connect() as conn:
                found = await conn.execute(text("SELECT epoch FROM outbox WHERE subject LIKE '%.webhook.disabled'"))
                return [row.epoch is not None for row in found] == [True]

        await until(relayed, within=60)
    told = aperag(stack, "webhooks", "show", webhook["id"])
    assert (told["enabled"], told["disabled_reason"]) == (False, "gone")
    assert "permission_violation" not in stack.log(NAME)
    aperag(stack, "webhooks", "delete", webhook["id"], "--yes")
    await becomes(stack, None)


async def commands(stack: Stack, webhook: str, delivery: str) -> None:
    """What else the command line does."""
    [listed] = aperag(stack, "webhooks", "list")
    assert (listed["id"], listed["types"]) == (webhook, ["collection.deleted"])
    changed = aperag(stack, "webhooks", "update", webhook, "--description", "tea", "--all-types")
    assert (changed["description"], changed["types"], changed["url"]) == ("tea", [], listed["url"])
    assert aperag(stack, "webhooks", "show", webhook) == changed
    assert aperag(stack, "webhooks", "rotate", webhook)["secret"].startswith("whsec_")
    assert aperag(stack, "webhooks", "enable", webhook)["enabled"]
    assert aperag(stack, "webhooks", "redeliver", webhook, delivery) == {"delivery_id": delivery}
    assert aperag(stack, "webhooks", "replay", webhook, "--since", "1h", "--failed")["added"] == 0
    assert aperag(stack, "webhooks", "deliveries", webhook, delivery)["id"] == delivery
    shown = stack.aperag("webhooks", "list")
    assert "tea" in shown.stdout


async def line(stream: asyncio.StreamReader) -> str:
    return (await asyncio.wait_for(stream.readline(), 60)).decode().strip()


async def listening(port: int) -> None:
    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(answers, within=60, every=0.05)
