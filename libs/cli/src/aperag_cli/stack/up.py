"""``aperag up`` and ``aperag down``."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from aperag_cli.environment import home
from aperag_cli.errors import StackFailed
from aperag_cli.stack import config, encoder, recognition
from aperag_cli.stack.running import translated
from aperag_standalone import control
from aperag_standalone.home import Home
from aperag_standalone.supervisor.options import ADMIN, API_PORT, CONSOLE_PORT, MCP_PORT, NATS_PORT, StackOptions
from aperag_standalone.supervisor.state import UnitStatus

if TYPE_CHECKING:
    import subprocess
    from types import FrameType

    from aperag_standalone.supervisor.state import StackState

Port = Annotated[int, typer.Option(help="Port of the API; 0 = any free port.", min=0, max=65535)]
McpPort = Annotated[
    int | None,
    typer.Option(
        help="Port of the MCP service; 0 = any free port.",
        min=0,
        max=65535,
        show_default=f"{MCP_PORT}, or any free port if it is taken",
    ),
]
ConsolePort = Annotated[
    int | None,
    typer.Option(
        help="Port of the console; 0 = any free port.",
        min=0,
        max=65535,
        show_default=f"{CONSOLE_PORT}, or any free port if it is taken",
    ),
]
NatsPort = Annotated[
    int | None,
    typer.Option(
        help="Port of NATS; 0 = any free port.",
        min=0,
        max=65535,
        show_default=f"{NATS_PORT}, or any free port if it is taken",
    ),
]
NatsHost = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Address where NATS listens; any address except this machine needs --nats-tls.",
        show_default="127.0.0.1",
    ),
]
Outsiders = Annotated[
    bool,
    typer.Option(help="Let other services connect to NATS with an API key.", envvar="APERAG_OUTSIDE__ENABLED"),
]
MonitorPort = Annotated[int, typer.Option(help="Port of NATS' monitoring; 0 = any free port.", min=0, max=65535)]
PostgresPort = Annotated[int, typer.Option(help="Port of PostgreSQL; 0 = any free port.", min=0, max=65535)]
Replicas = Annotated[int, typer.Option(help="Number of processes of this service.", min=1, max=64)]


@translated()
def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when ready; the stack continues in the background.")
    ] = False,
    port: Port = API_PORT,
    mcp_port: McpPort = None,
    console_port: ConsolePort = None,
    nats_host: NatsHost = "127.0.0.1",
    nats_port: NatsPort = None,
    nats_monitor_port: MonitorPort = 0,
    nats_tls: Annotated[bool, typer.Option("--nats-tls", help="Use TLS for NATS.")] = False,
    outsiders: Outsiders = True,
    postgres_port: PostgresPort = 0,
    gateways: Annotated[
        int, typer.Option(help="Number of gateways; all but the first listen on any free port.", min=1, max=64)
    ] = 1,
    indexers: Replicas = 1,
    reconcilers: Replicas = 1,
    agents: Replicas = 1,
) -> None:
    """Start the stack. It runs in the foreground until Ctrl-C, or in the background with --detach."""
    config.require_sound(os.environ)
    options = StackOptions(
        home=home(),
        port=port,
        mcp_port=mcp_port,
        console_port=console_port,
        nats_host=nats_host,
        nats_port=nats_port,
        nats_monitor_port=nats_monitor_port,
        nats_tls=nats_tls,
        outsiders=outsiders,
        postgres_port=postgres_port,
        gateways=gateways,
        indexers=indexers,
        reconcilers=reconcilers,
        agents=agents,
    )
    start(Console(soft_wrap=True), options, detach=detach)


@translated()
def down() -> None:
    """Stop the stack."""
    control.stop(Home(home()))
    Console(soft_wrap=True).print("Stopped.")


def start(console: Console, options: StackOptions, *, detach: bool) -> None:
    home = Home(options.home)
    begun = time.monotonic()
    child = control.launch(options, dies_with_us=not detach)
    console.print("Starting ApeRAG …")
    if detach:
        introduce(console, home, await_ready(child, home, console), seconds=time.monotonic() - begun)
        console.print("It runs in the background: `aperag status`, `aperag logs SERVICE`, `aperag down`.")
        return
    _stop_with_us(child)
    try:
        introduce(console, home, await_ready(child, home, console), seconds=time.monotonic() - begun)
        console.print("Ctrl-C stops it.")
        _tell_restarts(console, child, home)
    except KeyboardInterrupt:
        console.print("Stopping …")
        child.terminate()
        child.wait()
    if child.returncode != 0:
        message = f"the supervisor ended with code {child.returncode}"
        raise StackFailed(message, hint=f"see {home.log('supervisor')}")
    console.print("Stopped.")


def await_ready(child: subprocess.Popen[bytes], home: Home, console: Console) -> StackState:
    return control.await_ready(child, home, ready=lambda name: console.print(f"  [green]✓[/] {name}"))


def introduce(console: Console, home: Home, state: StackState, *, seconds: float) -> None:
    """Where everything is, and the secrets that are shown only once."""
    rows = [
        ("Console", state.console_url),
        ("API", f"{state.api_url}/api/v1"),
        ("MCP", state.mcp_url),
        ("NATS", state.nats_url),
    ]
    rows += [("Encoder", encoder.describe(os.environ)), ("OCR", recognition.describe())]
    rows += [("Data", str(home.directory)), *(_secrets(home, shown=console.file.isatty()) if state.first_start else ())]
    console.print(f"[bold green]Ready[/] in {seconds:.1f} s")
    for name, value in rows:
        console.print(Text(f"{name:<9}{value}"))  # no table: it would cut what people copy


def _secrets(home: Home, *, shown: bool) -> list[tuple[str, str]]:
    """What is printed elsewhere than at a terminal may be a log that others read."""
    if not shown:
        return [("API key", f"in {home.api_key}"), ("Login", f"{ADMIN}, password in {home.admin_password}")]
    key, password = (path.read_text(encoding="utf-8").strip() for path in (home.api_key, home.admin_password))
    return [
        ("API key", key),
        ("Login", f"{ADMIN}, password {password}"),
        ("", f"(shown once; kept in {home.secrets})"),
    ]


def _stop_with_us(child: subprocess.Popen[bytes]) -> None:
    def forward(_number: int, _frame: FrameType | None) -> None:
        child.terminate()

    signal.signal(signal.SIGTERM, forward)


def _tell_restarts(console: Console, child: subprocess.Popen[bytes], home: Home) -> None:
    told: dict[str, int] = {}
    for state in control.follow(child, home):
        for unit in state.units:
            if unit.status is UnitStatus.READY and unit.restarts > told.get(unit.name, 0):
                console.print(f"  [yellow]{unit.name} died and was started again[/] (restart {unit.restarts})")
            if unit.status is UnitStatus.READY:
                told[unit.name] = unit.restarts
