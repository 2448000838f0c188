"""``aperag chat`` and ``aperag models`` against the real stack."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aperag_testing.conversation import MODEL, offer
from aperag_testing.provider import Reply, providing

if TYPE_CHECKING:
    from aperag_testing.client import Client
    from aperag_testing.provider import Provider
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(120)


def _run(stack: Stack, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("aperag")), *arguments],
        env={**stack.env, "APERAG_HOME": str(stack.home)},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def run(stack: Stack, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """In a thread: the provider that answers lives in this process' loop."""
    return await asyncio.to_thread(_run, stack, *arguments, given=given)


async def test_a_newcomers_first_question_is_answered_from_the_documents(stack: Stack, client: Client) -> None:
    collection = await client.collection("First steps")
    [document] = await client.upload(collection, {"guide.md": b"The warranty lasts two years."})
    body = {"query": "warranty", "fulltext_search": {}, "wait_for": [document["id"]], "wait_ms": 10_000}
    await client.json("POST", f"/collections/{collection}/searches", json=body)
    asked = await run(stack, "chat", "How long is the warranty?", "--collection", "First steps")
    assert asked.returncode == 0, asked.stderr
    assert "The warranty lasts two years. [1]" in asked.stdout
    assert "[1] guide.md" in asked.stdout
    assert asked.stdout.count("[1] guide.md") == 1
    assert "· Searched for" in asked.stderr


async def test_the_question_may_come_from_a_pipe_and_the_events_go_to_one(
    stack: Stack, client: Client, provider: Provider
) -> None:
    provider.replies.append(Reply(["A ", "pipe."]))
    name = await offer(client, provider)
    asked = await run(stack, "chat", "--model", f"{name}/{MODEL}", "-o", "json", given="What is this?\n")
    assert asked.returncode == 0, asked.stderr
    events = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [events[0]["type"], events[-1]["type"]] == ["start", "stop"]
    assert "".join(it["data"] for it in events if it["type"] == "message") == "A pipe."


async def test_control_c_cancels_the_turn_and_what_there_is_stays(
    stack: Stack, client: Client, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.replies.append(Reply(["Half ", "an answer", " never"], gate=gate))
    name = await offer(client, provider)
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("aperag")), "chat", "Long?", "--model", f"{name}/{MODEL}"),
        env={**stack.env, "APERAG_HOME": str(stack.home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    shown = b""
    while b"an answer" not in shown:
        read = await process.stdout.read(100)
        assert read, await process.communicate()
        shown += read
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert process.returncode == 130, err
    assert (shown + out).decode() == "Half an answer\n"
    assert "Cancelled." in err.decode()
    gate.set()
    bots = (await client.json("GET", "/bots"))["items"]
    chats = (await client.json("GET", f"/bots/{bots[0]['id']}/chats", params={"page_size": 1}))["items"]
    assert chats[0]["title"] == "Long?"


async def test_what_cannot_be_asked_is_said_and_ends_with_its_code(stack: Stack) -> None:
    for arguments, code, said in (
        (("chat", "x", "--collection", "No such"), 4, "no collection"),
        (("chat", "x", "--bot", "No such"), 4, "no bot is titled"),
        (("chat", "x", "--model", "nonsense"), 2, "PROVIDER/MODEL"),
        (("chat", "x", "--model", "nobody/m"), 1, "Provider nobody not found"),
        (("chat", "x", "--resume", "chat0000000000000000"), 4, "not found"),
        (("chat", "x", "--api-key", "sk-wrong"), 5, "API key"),
        (("models", "providers", "add", "x", "ftp://x"), 1, "base_url"),
        (("models", "add", "nonsense"), 2, "PROVIDER/MODEL"),
        (("models", "set-default", "agent", "openai/no-such"), 4, "no completion model"),
    ):
        done = await run(stack, *arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert said in done.stderr, (arguments, done.stderr)


async def test_a_provider_is_added_used_and_taken_away(stack: Stack, client: Client) -> None:
    async with providing() as provider:
        provider.decide = lambda _: Reply(["From afar."])
        added = await run(
            stack, "models", "providers", "add", "afar", provider.url, "--key", "-", given="sk-a-key-of-mine-1234\n"
        )
        assert added.returncode == 0, added.stderr
        assert "sk-a****1234" in added.stdout
        assert (await run(stack, "models", "add", "afar/far-1", "--tag", "recommend")).returncode == 0
        listed = json.loads((await run(stack, "models", "list", "--tag", "recommend", "-o", "json")).stdout)
        assert "afar/far-1" in {it["id"] for it in listed}
        asked = await run(stack, "chat", "Where?", "--model", "afar/far-1")
        assert asked.stdout.startswith("From afar."), asked.stderr
        assert provider.asked[0].headers["authorization"] == "Bearer sk-a-key-of-mine-1234"
    assert (await run(stack, "models", "providers", "delete", "afar", "--yes")).returncode == 0
    gone = await run(stack, "models", "providers", "delete", "afar", "--yes")
    assert (gone.returncode, "there is no provider afar" in gone.stderr) == (4, True)


async def test_help_tells_what_there_is(stack: Stack) -> None:
    for arguments in (("chat",), ("models",), ("models", "providers")):
        shown = await run(stack, *arguments, "--help")
        assert shown.returncode == 0
        assert "Usage:" in re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout)
