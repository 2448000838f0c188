"""``aperag demo``: the whole way from an empty data directory to ranked hits in three languages."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer
from rich.console import Console

from aperag_cli.client.api import connect
from aperag_cli.client.http import Target
from aperag_cli.demo.agent import ask_as_agent
from aperag_cli.demo.conversation import converse
from aperag_cli.demo.journey import Journey
from aperag_cli.environment import home
from aperag_cli.stack import up
from aperag_cli.stack.running import translated
from aperag_cli.stack.up import Port
from aperag_standalone import control
from aperag_standalone.home import Home
from aperag_standalone.supervisor.options import API_PORT, StackOptions


@translated()
def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running.")] = False,
    port: Port = API_PORT,
) -> None:
    """Start the stack, ingest sample documents, search them over REST and MCP, ask in three languages, and stop."""
    run(Console(soft_wrap=True), Home(home()), keep=keep, port=port)


def run(console: Console, home: Home, *, keep: bool, port: int) -> None:
    """A stack that already runs is used and left running."""
    state = control.running(home)
    ours = state is None
    if state is None:
        begun = time.monotonic()
        child = control.launch(StackOptions(home=home.directory, port=port), dies_with_us=not keep)
        console.print("Starting ApeRAG …")
        state = up.await_ready(child, home, console)
        up.introduce(console, home, state, seconds=time.monotonic() - begun)
    else:
        console.print(f"Using the stack that runs at {state.api_url}.")
    try:
        api_key = home.api_key.read_text(encoding="utf-8").strip()
        asyncio.run(_journey(console, Target(state.api_url, api_key, local=True)))
        asyncio.run(ask_as_agent(console, state.mcp_url, api_key))
        asyncio.run(_conversation(console, Target(state.api_url, api_key, local=True)))
    finally:
        if ours and not keep:
            console.print("Stopping …")
            control.stop(home)
    if ours and not keep:
        console.print("Start the stack for good:  [bold]aperag up[/]")
    else:
        console.print("The stack is running. Stop it:  [bold]aperag down[/]")


async def _journey(console: Console, target: Target) -> None:
    async with connect(target) as api:
        await Journey(console, api).run()


async def _conversation(console: Console, target: Target) -> None:
    async with connect(target) as api:
        await converse(console, api)
