"""``aperag status``: what runs, since when, and whether it is ready."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from aperag_cli.environment import home
from aperag_cli.exits import Exit
from aperag_cli.output import Output, OutputOption
from aperag_cli.stack.running import require, translated
from aperag_standalone.home import Home
from aperag_standalone.supervisor.state import StackStatus, UnitStatus

if TYPE_CHECKING:
    from aperag_standalone.supervisor.state import StackState, UnitState


POINTERS = "Why a document waits: `aperag documents timeline`. Queues, workers, what they work on: `aperag queues`."


@translated()
def status(*, output: OutputOption = Output.TABLE) -> None:
    """Show what runs, since when, and whether it is ready."""
    show(Console(soft_wrap=True), Home(home()), output)


def show(console: Console, home: Home, output: Output) -> None:
    """Exit code 0 only where everything is ready."""
    state = require(home)
    if output is Output.JSON:
        console.print(state.model_dump_json(indent=2), markup=False, highlight=False)
    else:
        _print(console, state)
    if not healthy(state):
        sys.exit(Exit.FAILED)


def healthy(state: StackState) -> bool:
    return state.status is StackStatus.READY and all(unit.status is UnitStatus.READY for unit in state.units)


def _print(console: Console, state: StackState) -> None:
    table = Table(
        title=f"{state.status}, supervisor pid {state.pid}, console {state.console_url}, API {state.api_url}",
        title_justify="left",
    )
    for heading in ("process", "status", "pid", "port", "restarts", "for"):
        table.add_column(heading)
    for unit in state.units:
        table.add_row(*_row(unit))
    console.print(table)
    console.print(f"[dim]{POINTERS}[/]", highlight=False)


def _row(unit: UnitState) -> tuple[str, ...]:
    colour = "green" if unit.status is UnitStatus.READY else "yellow"
    since = "" if unit.since is None else str(datetime.now(UTC) - unit.since).split(".", maxsplit=1)[0]
    numbers = ("" if it is None else str(it) for it in (unit.pid, unit.port, unit.restarts))
    return (unit.name, f"[{colour}]{unit.status}[/]", *numbers, since)
