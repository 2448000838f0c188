"""``aperag``: the root of the command line; says which commands there are and how failures end."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from aperag_cli.errors import CliError
from aperag_cli.exits import MEANINGS, Exit, exit_of
from aperag_cli.lazy import LazyCommand
from aperag_cli.local import STANDALONE

STACK = "Stack on this machine"
CONTENT = "Documents and searches"
WORK = "Work and access"
MCP_SERVER = "aperag_mcp"

COMMANDS: dict[str, LazyCommand] = {
    name: LazyCommand(name, target=f"aperag_cli.{target}", help=help_, panel=panel, requires=requires)
    for panel, requires, entries in (
        (
            STACK,
            STANDALONE,
            (
                ("up", "stack.up:up", "Start the stack."),
                ("down", "stack.up:down", "Stop the stack."),
                ("status", "stack.status:status", "Show what runs, since when, and whether it is ready."),
                ("logs", "stack.logs:logs", "Show the log of one process."),
                ("config", "stack.config:app", "Show and check the settings of the stack."),
                ("doctor", "stack.doctor:doctor", "Find problems, and say what to do."),
                ("service", "stack.service.command:app", "Run the stack as a systemd service."),
                ("secrets", "stack.secrets:app", "Replace the secrets that keys and credentials depend on."),
                ("demo", "stack.demo:demo", "Ingest sample documents, search them, and ask questions about them."),
            ),
        ),
        (
            CONTENT,
            "",
            (
                ("collections", "commands.collections:app", "Create, list, share and delete collections."),
                ("documents", "commands.documents:app", "Upload documents, and follow them until they are searchable."),
                ("ingest", "commands.ingest:app", "Send events as another service does, and see their results."),
                ("search", "commands.search:search", "Search a collection by meaning and by words."),
                ("chat", "commands.chat:chat", "Ask about your documents; the answer names its sources."),
                ("models", "commands.models:app", "Manage model providers, their keys, and the default models."),
            ),
        ),
        (
            WORK,
            "",
            (
                ("tasks", "commands.tasks:app", "Show or cancel a task."),
                ("jobs", "commands.jobs:app", "List open and failed jobs; retry or cancel all that match."),
                ("queues", "commands.queues:queues", "Show queues, workers and running jobs."),
                ("timers", "commands.timers:app", "List the timers, or run one now."),
                ("dlq", "commands.dlq:app", "Show, requeue and delete dead letters of failed jobs."),
                ("events", "commands.events:app", "Follow the events of your documents and collections."),
                (
                    "subscriptions",
                    "commands.subscriptions:app",
                    "Manage durable subscriptions of other services to events.",
                ),
                ("nats", "commands.nats:app", "Show how another service connects to NATS with your key."),
                ("webhooks", "commands.webhooks:app", "Send events to your own service, and see what arrived."),
                ("keys", "commands.keys:app", "Create, list and revoke API keys."),
                ("users", "commands.users:app", "Invite, list and delete users; change a password."),
                ("quotas", "commands.quotas:app", "Show and set quotas: how much each user may own."),
            ),
        ),
        (WORK, MCP_SERVER, (("mcp", "commands.mcp:mcp", "Run an MCP server on standard input and output."),)),
    )
    for name, target, help_ in entries
}


class Root(TyperGroup):
    """Expected failures are one message and an exit code, never a stack trace."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": dict(COMMANDS)})

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CliError as err:
            typer.echo(f"aperag: {err}", err=True)
            raise typer.Exit(exit_of(err)) from err
        except BrokenPipeError as err:
            # Whoever read has seen enough, as `head` does. The interpreter would say so when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(Exit.OK) from err


EPILOG = (
    "Commands for documents, searches, work and access use the stack in APERAG_HOME (default: ./.aperag), or any other"
    " gateway: set --url and --api-key, or APERAG_API_URL and APERAG_API_KEY.\n\n"
    "Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items()) + "."
)

app = typer.Typer(
    cls=Root, no_args_is_help=True, pretty_exceptions_enable=False, epilog=EPILOG, help="Run and use ApeRAG."
)


def _tell_version(wanted: bool) -> None:  # noqa: FBT001  Typer calls it
    if wanted:
        typer.echo(f"aperag {installed_version()}")
        raise typer.Exit


def installed_version() -> str:
    """Of the wheel; a checkout has none, its packages are installed one by one."""
    try:
        return version("aperag")
    except PackageNotFoundError:
        return "(from a checkout)"


@app.callback()
def root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What it does is in its options' callbacks."""


def main() -> None:
    app()
