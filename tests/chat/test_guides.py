"""The examples of the guides as they stand there; only address, key and ids become those of a running stack."""

from __future__ import annotations

import ast
import asyncio
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aperag_testing.provider import Reply

if TYPE_CHECKING:
    from aperag_testing.client import Client
    from aperag_testing.provider import Provider
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:8000"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

with_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

# An answer that is no success ends the script; a stream of events ends when somebody has seen enough of it.
CURL = """\
set -euo pipefail
curl() {
  case "$*" in
    *last_event_id*|*Last-Event-ID*) command curl --fail-with-body --max-time 2 "$@" || test $? = 28 ;;
    *) command curl --fail-with-body --show-error --max-time 60 "$@" ;;
  esac
}
"""


def examples(page: str, language: str, mark: str) -> list[str]:
    """The blocks in ``language`` that contain ``mark``."""
    blocks = FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
    found = [body for name, body in blocks if name == language and mark in body]
    assert found, f"{page} shows no {language} with {mark}"
    return found


async def run(*command: str, cwd: Path) -> str:
    """What it printed; it must end well."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=pipe, stderr=pipe)
    out, errors = await process.communicate()
    assert process.returncode == 0, f"{command[-1]}\n{out.decode()}\n{errors.decode()}"
    return out.decode()


@pytest.fixture
def checkout(stack: Stack, tmp_path: Path) -> Path:
    """Where a reader of the guides stands."""
    (tmp_path / ".aperag").symlink_to(stack.home)
    for page in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / page, tmp_path)
    return tmp_path


@pytest.fixture
def place(stack: Stack) -> str:
    """Host and port of the gateway."""
    return stack.url.removeprefix("http://")


@with_curl
@pytest.mark.parametrize("page", ["README.md", "docs/quick-start.md"])
async def test_the_first_steps_with_curl(place: str, checkout: Path, client: Client, page: str) -> None:
    before = await bots(client)
    script = "".join(examples(page, "sh", "curl -s")).replace(ADDRESS, place)
    try:
        printed = await run("bash", "-c", CURL + script, cwd=checkout)
    finally:
        for made in await bots(client) - before:
            await client.http.delete(f"/bots/{made}")
    assert "JetStream carries the work" in printed
    assert ('"object":"chat.completion"' in printed) == (page == "README.md")


async def bots(client: Client) -> set[str]:
    return {it["id"] for it in (await client.json("GET", "/bots"))["items"]}


@with_curl
async def test_every_part_of_the_api_with_curl(place: str, checkout: Path) -> None:
    # The web is not within reach of tests: neither its pages nor the name of a webhook's receiver.
    blocks = [body for body in examples("docs/api.md", "sh", "curl -s") if not re.search(r"/web/|example\.org", body)]
    printed = await run("bash", "-c", CURL + "".join(blocks).replace(ADDRESS, place), cwd=checkout)
    for told in ("JetStream carries the work", "event: document.indexed", '"spans":[{'):
        assert told in printed


@with_curl
async def test_a_turn_with_curl(place: str, checkout: Path) -> None:
    script = "".join(examples("docs/chat.md", "sh", "curl -s")).replace(ADDRESS, place)
    printed = await run("bash", "-c", CURL + script, cwd=checkout)
    assert '"type":"stop"' in printed
    assert '"state":"answered"' in printed
    assert '"history":[[' in printed


@with_curl
async def test_questions_and_files_with_curl(place: str, checkout: Path, bot: str, provider: Provider) -> None:
    (checkout / "note.md").write_text("The meeting is on Thursday.", encoding="utf-8")
    provider.replies.extend([Reply(["Thirty days."]), Reply(["Shoes ", "too."])])
    script = "".join(examples("docs/clients.md", "sh", "curl -s")).replace(ADDRESS, place)
    printed = await run("bash", "-c", CURL + script, cwd=checkout)
    assert '"data":"Thirty days."' in printed
    assert '"type":"stop"' in printed
    assert '"name":"note.md"' in printed
    assert "The meeting is on Thursday." in printed


async def test_openais_sdk(stack: Stack, place: str, checkout: Path, bot: str, provider: Provider) -> None:
    provider.replies.extend([Reply(["Thirty days."]), Reply(["Shoes ", "too."])])
    [source] = examples("docs/clients.md", "python", "OpenAI(")
    source = source.replace(ADDRESS, place).replace("sk-…", stack.api_key).replace("bot0123456789abcdef", bot)
    printed = await run(sys.executable, "-c", source, cwd=checkout)
    assert bot in printed
    assert "Thirty days." in printed
    assert printed.endswith("Shoes too.")


async def test_a_websocket(
    stack: Stack, place: str, checkout: Path, client: Client, bot: str, provider: Provider
) -> None:
    chat = await client.json("POST", f"/bots/{bot}/chats", json={})
    provider.replies.append(Reply(["Thirty ", "days."]))
    [source] = examples("docs/clients.md", "python", "websockets")
    source = source.replace(ADDRESS, place).replace("sk-…", stack.api_key)
    source = source.replace("bot…", bot).replace("chat…", chat["id"])
    printed = await run(sys.executable, "-c", source, cwd=checkout)
    frames = [ast.literal_eval(line) for line in printed.splitlines()]
    assert (frames[0]["type"], frames[-1]["type"]) == ("start", "stop")
    assert "".join(frame["data"] for frame in frames if frame["type"] == "message") == "Thirty days."
