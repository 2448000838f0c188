"""``aperag timers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aperag_cli.client import timers
from aperag_cli.exits import Exit
from aperag_cli.output import details, plain, table
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="List the timers, or run one now. For administrators.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the timer, as `aperag timers list` shows it.")]
COLUMNS = ("name", "state", "every", "started", "took", "late", "runs", "failures", "worker", "error_message")


@app.command("list")
@remote
async def list_(session: Session) -> None:
    """List all timers with their last runs."""
    found = await timers.timers(session.api.http)
    session.printer.whole(found, lambda: table([_row(it) for it in found], COLUMNS))


@app.command()
@remote
async def run(
    session: Session,
    name: Name,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the run has ended; exit code 1 if it failed.")
    ] = False,
) -> None:
    """Run a timer now. If a run is already waiting or running, it counts and no second one starts."""
    asked = await timers.run(session.api.http, name)
    if not wait:
        session.printer.whole(asked, lambda: _asked(asked))
        return
    session.printer.note(asked["message"])
    timer = await timers.ended(session.api.http, asked, told=session.note_loss)
    session.printer.whole(timer, lambda: details(timer))
    if timer["error_message"]:
        raise typer.Exit(Exit.FAILED)


def _asked(asked: dict[str, Any]) -> RenderableType:
    return plain(asked["message"])


def _row(told: dict[str, Any]) -> dict[str, Any]:
    return {
        **told,
        "every": _seconds(told["period_seconds"]),
        "started": (told["started_at"] or "")[:19].replace("T", " "),
        "took": _seconds(told["duration_seconds"]),
        "late": _seconds(told["lateness_seconds"]),
    }


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} s"
