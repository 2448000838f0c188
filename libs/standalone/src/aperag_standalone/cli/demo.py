"""``aperag demo``: the whole way from an empty data directory to ranked hits in three languages."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aperag_standalone.cli import launch, stack
from aperag_standalone.demo.client import ApiClient
from aperag_standalone.demo.journey import Journey
from aperag_standalone.supervisor.options import StackOptions

if TYPE_CHECKING:
    from rich.console import Console

    from aperag_standalone.home import Home


def run(console: Console, home: Home, *, keep: bool, port: int) -> None:
    """A stack that already runs is used and left running."""
    state = launch.running(home)
    ours = state is None
    if state is None:
        begun = time.monotonic()
        child = launch.launch(StackOptions(home=home.directory, port=port), dies_with_us=not keep)
        console.print("Starting ApeRAG …")
        state = launch.await_ready(child, home, console)
        stack.introduce(console, home, state, seconds=time.monotonic() - begun)
    else:
        console.print(f"Using the stack that runs at {state.api_url}.")
    try:
        api_key = home.api_key.read_text(encoding="utf-8").strip()
        asyncio.run(_journey(console, state.api_url, api_key))
    finally:
        if ours and not keep:
            console.print("Stopping …")
            launch.stop(home)
    if ours and not keep:
        console.print("Start the stack for good:  [bold]./justw up[/]")
    else:
        console.print("The stack is running. Stop it:  [bold]./justw down[/]")


async def _journey(console: Console, url: str, api_key: str) -> None:
    client = ApiClient(url, api_key)
    try:
        await Journey(console, client).run()
    finally:
        await client.close()
