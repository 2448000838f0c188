"""``aperag secrets``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aperag_cli.environment import home
from aperag_cli.exits import Exit
from aperag_cli.output import Output, OutputOption, Printer, table
from aperag_cli.stack.running import require, translated
from aperag_standalone.home import Home
from aperag_standalone.renewal import Renewal

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Replace the secrets that keys and credentials depend on."
)

COLUMNS = ("stored_in", "rotated", "unreadable")
KEPT = (
    "API keys and logins stay valid: a key is hashed anew when it is used next. The old secret is kept for that in"
    " {path}; delete the file (and provider_keys_previous beside it) once every key has been used, and restart the stack."
)
UNREADABLE = "What is unreadable was encrypted under a secret that is not known any more: enter it again."


@app.callback()
def group() -> None:
    """With one command only, Typer would take its name for an argument."""


@app.command()
@translated()
def rotate(
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish an interrupted rotation, without creating new secrets.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create new secrets, and encrypt all stored credentials with them.

    The agents and the indexers are restarted for that, then the gateway and the MCP service. An `aperag mcp` that runs
    goes on, but its spans are refused until its client starts it again.
    """
    data = Home(home())
    counts = Renewal(data, require(data), os.environ).run(resume=resume)
    printer = Printer(output)
    printer.whole(counts, lambda: _table(counts))
    printer.note(KEPT.format(path=data.previous_secret_keys))
    if any(count["unreadable"] for count in counts.values()):
        printer.note(UNREADABLE)
        raise typer.Exit(Exit.FAILED)


def _table(counts: dict[str, Any]) -> Table:
    return table([{"stored_in": place, **count} for place, count in counts.items()], COLUMNS)
