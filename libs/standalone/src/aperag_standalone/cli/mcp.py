"""``aperag mcp``: the MCP server of one client, on standard input and output."""

from __future__ import annotations

import os
import sys

from aperag_standalone.cli import remote
from aperag_standalone.cli.environment import API_KEY, API_URL, home
from aperag_standalone.cli.remote import ApiKey, Url


def mcp(*, url: Url = None, api_key: ApiKey = None) -> None:
    """Speak MCP on standard input and output, for clients that start their servers themselves.

    The tools are those of the service on port 8001. Logs go to standard error.
    """
    target = remote.resolve(url, api_key, home())
    env = {**os.environ, API_URL: target.url, API_KEY: target.api_key}
    # Not a child: the client ends what it started, and its pipes must reach the server untouched.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "aperag_mcp", "--stdio"], env)  # noqa: S606  no shell is meant
