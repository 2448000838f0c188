"""``aperag tasks``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from aperag_cli.output import details, table
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Show or cancel a task. Uploads and rebuilds print its id.",
)

TaskId = Annotated[str, typer.Argument(metavar="ID", help="Id of the task, as printed by the command that started it.")]
STEPS = ("kind", "outcome", "status", "attempt", "failures", "position", "next_try_at", "error_code", "error_message")


@app.command()
@remote
async def show(session: Session, task: TaskId) -> None:
    """Show the state of each step of a task, and the reason."""
    found = await session.api.task(task)
    session.printer.whole(found, lambda: _shown(found))


@app.command()
@remote
async def cancel(session: Session, task: TaskId) -> None:
    """Cancel a task that has not ended."""
    found = await session.api.cancel_task(task)
    session.printer.whole(found, lambda: _shown(found))


def _shown(task: dict[str, Any]) -> RenderableType:
    summary = {name: value for name, value in task.items() if name != "steps"}
    return Group(details(summary), table(task["steps"], STEPS))
