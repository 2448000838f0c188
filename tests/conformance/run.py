"""``python -m tests.conformance.run``: our MCP service against the public conformance suite and the inspector."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_standalone import ports
from aperag_testing.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PINS = ("package.json", "package-lock.json")
INSTALL_SECONDS, SUITE_SECONDS, INSPECTOR_SECONDS, START_SECONDS = 600, 300, 120, 60
PRODUCT_TOOLS = {
    "list_collections",
    "search_collection",
    "search_chat_files",
    "web_search",
    "web_read",
    "list_documents",
    "read_document",
    "add_document",
    "document_status",
}


class Failed(Exception):
    """What was seen instead of what was promised."""


def main() -> int:
    if shutil.which("npm") is None:
        print("skipped: npm is not installed (it comes with Node.js); everything else is tested without it")
        return 0
    with tempfile.TemporaryDirectory(prefix="mcp-conformance-") as name:
        scratch = Path(name)
        try:
            env = install(scratch)
            run(scratch, env)
        except Failed as err:
            print(f"FAILED   {err}")
            return 1
    return 0


def run(scratch: Path, env: Mapping[str, str]) -> None:
    stack = Stack(scratch / "home", os.environ)
    started = stack.up()
    try:
        if started.returncode != 0:
            raise Failed(f"the stack did not start:\n{started.stdout}{started.stderr}")
        with fixture_server(scratch, stack.url) as url:
            judge(scratch, env, url)
        inspect(env, str(stack.state()["mcp_url"]), stack.api_key)
    finally:
        stack.down()


def install(scratch: Path) -> dict[str, str]:
    """The tools and a Node that is new enough for them, as pinned; the environment that finds them."""
    for pin in PINS:
        shutil.copy(HERE / pin, scratch / pin)
    print("installing the suite, the inspector and Node.js …", flush=True)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=scratch,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"npm could not install what {HERE / PINS[0]} names:\n{done.stdout}{done.stderr}")
    return {**os.environ, "PATH": f"{scratch / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def fixture_server(scratch: Path, api_url: str) -> Iterator[str]:
    """Our service with the fixtures of the suite; it ends with the block."""
    port = ports.free_port()
    settings = {"APERAG_API_URL": api_url, "APERAG_HTTP__PORT": str(port), "APERAG_TELEMETRY__LOG_LEVEL": "WARNING"}
    with (scratch / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.server"], cwd=ROOT, env={**os.environ, **settings}, stderr=log
        )
    try:
        await_ready(server, port, scratch / "server.log")
        yield f"http://127.0.0.1:{port}/mcp/"
    finally:
        server.terminate()
        server.wait()


def await_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(START_SECONDS * 10):
        if ports.answers(port, "/readyz"):
            return
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise Failed(f"the server did not become ready:\n{log.read_text(encoding='utf-8', errors='replace')}")


def judge(scratch: Path, env: Mapping[str, str], url: str) -> None:
    """Fails where a scenario fails that is not expected to, and where one passes that is."""
    baseline = str(HERE / "expected-failures.yml")
    command = ["conformance", "server", "--url", url, "--suite", "all", "--expected-failures", baseline]
    done = subprocess.run(
        command, cwd=scratch, env=dict(env), capture_output=True, text=True, timeout=SUITE_SECONDS, check=False
    )
    print(done.stdout[done.stdout.find("=== SUMMARY") :], flush=True)
    if done.returncode != 0:
        raise Failed(f"the conformance suite is not satisfied\n{done.stderr}")


def inspect(env: Mapping[str, str], url: str, api_key: str) -> None:
    """The product as it runs, seen by the inspector: what it lists, and a call that reaches the gateway."""

    def ask(method: str, *options: str) -> dict[str, object]:
        key = f"Authorization: Bearer {api_key}"
        command = ["mcp-inspector", "--cli", url, "--transport", "http", "--header", key, "--method", method, *options]
        done = subprocess.run(
            command, env=dict(env), capture_output=True, text=True, timeout=INSPECTOR_SECONDS, check=False
        )
        if done.returncode != 0:
            raise Failed(f"the inspector's {method} failed:\n{done.stdout}{done.stderr}")
        return dict(json.loads(done.stdout))

    listed = ask("tools/list")["tools"]
    names = {tool["name"] for tool in listed} if isinstance(listed, list) else set()
    if names != PRODUCT_TOOLS:
        raise Failed(f"the inspector lists {sorted(names)}")
    called = ask("tools/call", "--tool-name", "list_collections")
    if called.get("isError") or "structuredContent" not in called:
        raise Failed(f"the inspector's call was answered {called}")
    ask("resources/list")
    ask("resources/read", "--uri", "aperag://usage-guide")
    ask("prompts/get", "--prompt-name", "search_assistant")
    print(f"ok       the inspector lists {len(names)} tools, calls one, reads a resource, gets a prompt")


if __name__ == "__main__":
    sys.exit(main())
