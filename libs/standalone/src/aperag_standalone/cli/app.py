"""``aperag``: the root of the command line; says which commands there are and how failures end."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from aperag_standalone.cli.exits import MEANINGS, exit_of
from aperag_standalone.cli.lazy import LazyCommand
from aperag_standalone.errors import StandaloneError

STACK = "Stack on this machine"
CONTENT = "Documents and searches"
WORK = "Work and access"

_CLI = "aperag_standalone.cli"
COMMANDS: dict[str, LazyCommand] = {
    name: LazyCommand(name, target=f"{_CLI}.{target}", help=help_, panel=panel)
    for panel, name, target, help_ in (
        (STACK, "up", "stack:up", "Start the stack."),
        (STACK, "down", "stack:down", "Stop the stack."),
        (STACK, "status", "status:status", "What runs, since when, and whether it is ready."),
        (STACK, "logs", "logs:logs", "The log of one process."),
        (STACK, "doctor", "doctor:doctor", "Look for what is wrong, and say what to do."),
        (STACK, "secrets", "secrets:app", "Replace the secrets that keys and credentials depend on."),
        (STACK, "demo", "demo:demo", "Ingest the sample documents, search and ask them."),
        (CONTENT, "collections", "collections:app", "Make, list, share and delete collections."),
        (CONTENT, "documents", "documents:app", "Upload documents and see what becomes of them."),
        (CONTENT, "search", "search:search", "Search a collection by meaning and by words."),
        (CONTENT, "chat", "chat:chat", "Ask about your documents; the answer cites them."),
        (CONTENT, "models", "models:app", "Providers of models, their keys, and which models are used."),
        (WORK, "tasks", "tasks:app", "Look at a requested change, or cancel it."),
        (WORK, "queues", "queues:queues", "How long every queue is, who works, and on what."),
        (WORK, "timers", "timers:app", "What runs by itself, and running it now."),
        (WORK, "dlq", "dlq:app", "Dead letters: what was given up, and running it again."),
        (WORK, "events", "events:app", "Follow what happens to your documents."),
        (WORK, "keys", "keys:app", "Make, list and revoke API keys."),
        (WORK, "users", "users:app", "Invite, list and delete users; change a password."),
        (WORK, "quotas", "quotas:app", "How much each user may own."),
        (WORK, "mcp", "mcp:mcp", "An MCP server on standard input and output."),
    )
}


class Root(TyperGroup):
    """Expected failures are one message and an exit code, never a stack trace."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": dict(COMMANDS)})

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except StandaloneError as err:
            typer.echo(f"aperag: {err}", err=True)
            raise typer.Exit(exit_of(err)) from err


EPILOG = (
    "Commands on documents, searches, work and access use the stack that runs on APERAG_HOME (default: ./.aperag),"
    " or any gateway: --url and --api-key, or APERAG_API_URL and APERAG_API_KEY.\n\n"
    "Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items()) + "."
)

app = typer.Typer(
    cls=Root, no_args_is_help=True, pretty_exceptions_enable=False, epilog=EPILOG, help="Run ApeRAG, and work with it."
)


@app.callback()
def root() -> None:
    """The options of the root are Typer's own."""


def main() -> None:
    app()
