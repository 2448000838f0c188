"""``aperag mcp``: the MCP server of one client, on standard input and output."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from aperag_cli import local, remote
from aperag_cli.environment import API_KEY, API_URL, TRACES_TOKEN, home
from aperag_cli.remote import ApiKey, Url

if TYPE_CHECKING:
    from aperag_cli.client.http import Target


def mcp(*, url: Url = None, api_key: ApiKey = None) -> None:
    """Run an MCP server on standard input and output, for clients that start their own servers.

    It has the same tools as the service on port 8001. Logs go to standard error.
    """
    target = remote.resolve(url, api_key, home())
    env = {**os.environ, API_URL: target.url, API_KEY: target.api_key, **_traces_token(target)}
    # Not a child: the client ends what it started, and its pipes must reach the server untouched.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "aperag_mcp", "--stdio"], env)  # noqa: S606  no shell is meant


def _traces_token(target: Target) -> dict[str, str]:
    """As the service on port 8001 has it, so that a tool call is in the trace of who asked; never for another gateway."""
    stack = local.running(home()) if target.local else None
    if stack is not None:
        with suppress(OSError):  # another user's stack: the tools work, their spans stay here
            return {TRACES_TOKEN: stack.traces_token.read_text(encoding="ascii").strip()}
    return {}
