"""``aperag service``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aperag_cli.app import COMMANDS
from aperag_cli.environment import config, home
from aperag_cli.errors import WrongState
from aperag_cli.exits import Exit
from aperag_cli.output import Output, OutputOption, Printer, details
from aperag_cli.stack.running import translated
from aperag_cli.stack.service.manager import Manager, connect
from aperag_cli.stack.service.unit import NAME, unit
from aperag_standalone import control
from aperag_standalone.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Run the stack as a systemd service. It starts with your session or the machine, and restarts after a failure.",
)
LINGER = (
    "It starts with your first login and stops after your last; to have it run from boot on: loginctl enable-linger"
)
Options = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OPTIONS", help="Options of `aperag up`, after two dashes: -- --port 8080", show_default=False
    ),
]


@app.command()
@translated()
def install(
    options: Options = None,
    *,
    show: Annotated[bool, typer.Option("--print", help="Print the unit, without changing anything.")] = False,
) -> None:
    """Write the unit and start the stack, now and with every session. Repeat the command to change options.

    Put settings for the services into the file `.env` of the data directory, one NAME=VALUE per line.

    Example: aperag service install -- --port 8080 --indexers 2
    """
    given = list(options or [])
    _check(given)
    text = unit(sys.executable, home(), given)
    if show:
        typer.echo(text, nl=False)
        return
    manager = connect(config())
    if not manager.file.exists():
        _refuse_another(Home(home()))
    manager.install(text)
    typer.echo(f"Installed {manager.file} and started it; the data are in {home()}.")
    typer.echo(
        "See `aperag service status`. Other commands find it in this folder, and everywhere with APERAG_HOME set."
    )
    typer.echo(LINGER)


@app.command()
@translated()
def uninstall() -> None:
    """Stop the stack and remove the unit. The data are kept."""
    manager = _installed(connect(config()))
    manager.uninstall()
    typer.echo(f"Stopped, and removed {manager.file}. The data are kept.")


@app.command()
@translated()
def status(*, output: OutputOption = Output.TABLE) -> None:
    """Show the state of the service and of the stack. Exit code 0 only if the service is active."""
    manager = _installed(connect(config()))
    told = manager.state()
    data = manager.home(told) or home()
    stack = control.running(Home(data))
    found: dict[str, Any] = {
        "unit": str(manager.file),
        "active": f"{told.get('ActiveState', 'unknown')} ({told.get('SubState', '')})",
        "starts": told.get("UnitFileState", "unknown"),
        "data": str(data),
        "pid": int(told.get("MainPID", "0")) or None,
        "stack": "not running" if stack is None else str(stack.status),
        "api": None if stack is None else stack.api_url,
    }
    Printer(output).whole(found, lambda: details(found))
    if told.get("ActiveState") != "active":
        typer.echo(f"The reason is in `journalctl --user -u {NAME}` and `aperag logs supervisor`.", err=True)
        raise typer.Exit(Exit.FAILED)


def _check(options: Sequence[str]) -> None:
    """Raises a usage error where `aperag up` would."""
    context = COMMANDS["up"].make_context("aperag up", list(options))
    if context.params["detach"]:
        message = "the service runs in the foreground: remove --detach"
        raise typer.BadParameter(message, param_hint="OPTIONS")


def _installed(manager: Manager) -> Manager:
    if not manager.file.exists():
        message = f"no service is installed: there is no {manager.file}"
        raise WrongState(message, hint="install it with `aperag service install`")
    return manager


def _refuse_another(home: Home) -> None:
    if control.running(home) is not None:
        message = f"a stack already runs on {home.directory}"
        raise WrongState(message, hint="stop it with `aperag down`, then install the service")
