"""``aperag``: composition root of the command line; the only place that reads its environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aperag_standalone.cli import demo, doctor, logs, stack, status
from aperag_standalone.cli.exits import Exit
from aperag_standalone.errors import AlreadyRunning, NotRunning, StandaloneError
from aperag_standalone.home import Home
from aperag_standalone.supervisor.options import API_PORT, StackOptions

DEFAULT_HOME = ".aperag"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(soft_wrap=True)

Port = Annotated[int, typer.Option(help="Port of the API.", min=0, max=65535)]
NatsPort = Annotated[int, typer.Option(help="Port of NATS; 0 = any free one.", min=0, max=65535)]
MonitorPort = Annotated[int, typer.Option(help="Port of NATS monitoring; 0 = any free one.", min=0, max=65535)]
PostgresPort = Annotated[int, typer.Option(help="Port of PostgreSQL; 0 = any free one.", min=0, max=65535)]
Replicas = Annotated[int, typer.Option(help="Processes of this service.", min=1, max=64)]


def home() -> Home:
    return Home(Path(os.environ.get("APERAG_HOME") or DEFAULT_HOME).absolute())


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it is ready.")] = False,
    port: Port = API_PORT,
    nats_port: NatsPort = 0,
    nats_monitor_port: MonitorPort = 0,
    postgres_port: PostgresPort = 0,
    indexers: Replicas = 1,
    reconcilers: Replicas = 1,
) -> None:
    """Start the stack; in the foreground until Ctrl-C unless --detach is given."""
    options = StackOptions(
        home=home().directory,
        port=port,
        nats_port=nats_port,
        nats_monitor_port=nats_monitor_port,
        postgres_port=postgres_port,
        indexers=indexers,
        reconcilers=reconcilers,
    )
    stack.up(console, options, detach=detach)


@app.command()
def down() -> None:
    """Stop the stack."""
    stack.down(console, home())


@app.command("status")
def show_status(
    *, output: Annotated[status.Output, typer.Option("--output", "-o", help="How to print.")] = status.Output.TABLE
) -> None:
    """What runs, since when, and whether it is ready."""
    status.show(console, home(), output)


@app.command("logs")
def show_logs(
    service: Annotated[str, typer.Argument(help="api, indexer, reconciler, nats, postgres or supervisor.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.", min=0)] = 50,
) -> None:
    """The log of one process."""
    logs.show(sys.stdout, home(), service, follow=follow, lines=lines)


@app.command("doctor")
def examine(*, port: Port = API_PORT) -> None:
    """Look for what would keep the stack from running, and say what to do."""
    doctor.examine(console, home(), port=port, env=os.environ)


@app.command("demo")
def show_demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running.")] = False,
    port: Port = API_PORT,
) -> None:
    """Start the stack, ingest the sample documents, search them in three languages, stop."""
    demo.run(console, home(), keep=keep, port=port)


def main() -> None:
    """Expected failures are one message and an exit code, never a stack trace."""
    try:
        app()
    except (AlreadyRunning, NotRunning) as err:
        _complain(err)
        sys.exit(Exit.WRONG_STATE)
    except StandaloneError as err:
        _complain(err)
        sys.exit(Exit.FAILED)


def _complain(err: StandaloneError) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"aperag: {err}")
