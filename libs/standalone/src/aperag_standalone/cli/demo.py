"""``aperag demo``: the whole way from an empty data directory to ranked hits in three languages."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from aperag_standalone.cli import launch, stack
from aperag_standalone.cli.environment import home
from aperag_standalone.cli.stack import Port
from aperag_standalone.client.api import connect
from aperag_standalone.client.http import Target
from aperag_standalone.demo.agent import ask_as_agent
from aperag_standalone.demo.conversation import converse
from aperag_standalone.demo.journey import Journey
from aperag_standalone.supervisor.options import API_PORT, StackOptions

if TYPE_CHECKING:
    from aperag_standalone.home import Home


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running.")] = False,
    port: Port = API_PORT,
) -> None:
    """Start the stack, ingest the sample documents, search them over REST and MCP, ask them in three languages, stop."""
    run(Console(soft_wrap=True), home(), keep=keep, port=port)


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
        asyncio.run(_journey(console, Target(state.api_url, api_key, local=True)))
        asyncio.run(ask_as_agent(console, state.mcp_url, api_key))
        asyncio.run(_conversation(console, Target(state.api_url, api_key, local=True)))
    finally:
        if ours and not keep:
            console.print("Stopping …")
            launch.stop(home)
    if ours and not keep:
        console.print("Start the stack for good:  [bold]./justw up[/]")
    else:
        console.print("The stack is running. Stop it:  [bold]./justw down[/]")


async def _journey(console: Console, target: Target) -> None:
    async with connect(target) as api:
        await Journey(console, api).run()


async def _conversation(console: Console, target: Target) -> None:
    async with connect(target) as api:
        await converse(console, api)
