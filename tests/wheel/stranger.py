"""What somebody does who has installed the wheel: run by the interpreter it is installed in, in an empty folder.

Nothing of the checkout is imported; the MCP client is the official SDK's, which the wheel brings along.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters

APERAG = str(Path(sys.executable).with_name("aperag"))
PATIENCE = 240.0


def aperag(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([APERAG, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    said = f"aperag {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert done.returncode == code, said
    assert "Traceback" not in done.stderr, said
    return done.stdout + done.stderr


async def ask_over_mcp() -> dict[str, Any]:
    """As a client that starts its servers itself, from this folder."""
    env = dict(os.environ)  # noqa: TID251  as a client hands its own on
    server = StdioServerParameters(command=APERAG, args=["mcp"], env=env)
    async with Client(server, read_timeout_seconds=60) as client:
        assert len((await client.list_tools()).tools) == 9
        collections = (await client.call_tool("list_collections", {})).structured_content or {}
        demo = next(it["id"] for it in collections["items"] if it["title"] == "ApeRAG demo")
        question = {"collection_id": demo, "query": "why does coffee taste bitter"}
        return dict((await client.call_tool("search_collection", question)).structured_content or {})


def main(version: str) -> None:
    assert list(Path.cwd().iterdir()) == []
    assert aperag("--version").strip() == f"aperag {version}"
    assert "aperag up" in aperag("status", code=3)
    assert "'documents'" in aperag("documnts", code=2)
    assert json.loads(aperag("doctor", "-o", "json", "--port", "0"))["fit"]
    try:
        assert "Ready" in aperag("up", "--detach", "--port", "0", "--mcp-port", "0")
        assert "already runs" in aperag("up", "--detach", code=3)
        shown = aperag("demo")
        assert all(found in shown for found in ("coffee-brewing.md", "kimchi-ko.docx", "tea-zh.html")), shown
        assert {unit["status"] for unit in json.loads(aperag("status", "-o", "json"))["units"]} == {"ready"}
        assert asyncio.run(ask_over_mcp())["items"][0]["source"] == "coffee-brewing.md"
        assert "There is no step" in aperag("dlq", "list", "--step", "nonsense", code=1)
        assert "nonsense" in aperag("search", "nonsense", "coffee", code=4)
        assert "there are:" in aperag("logs", "nonsense", code=1)
    finally:
        aperag("down")
    assert "aperag up" in aperag("down", code=3)
    assert [path.name for path in Path.cwd().iterdir()] == [".aperag"]


if __name__ == "__main__":
    main(sys.argv[1])
