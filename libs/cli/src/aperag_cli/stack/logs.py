"""``aperag logs``: the end of one process' log, and what comes after."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections import deque
from typing import TYPE_CHECKING, Annotated

import typer

from aperag_cli.environment import home
from aperag_cli.errors import CliError
from aperag_standalone.home import Home

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO


POLL = 0.2


class NoSuchLog(CliError):
    """No process of that name ever ran here."""


def logs(
    service: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE",
            help="agent, api, indexer, reconciler, webhooks, mcp, console, nats, postgres or supervisor.",
        ),
    ],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Number of lines from the end.", min=0)] = 50,
) -> None:
    """Show the log of one process."""
    show(sys.stdout, Home(home()), service, follow=follow, lines=lines)


def show(out: TextIO, home: Home, service: str, *, follow: bool, lines: int) -> None:
    path = home.log(service)
    if service not in names(home):
        message = f"no log of {service!r}"
        raise NoSuchLog(message, hint=f"there are: {', '.join(names(home)) or 'none yet, start the stack first'}")
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        _show(out, path, follow=follow, lines=lines)


def names(home: Home) -> list[str]:
    return sorted(path.stem for path in home.log("").parent.glob("*.log") if path.stem)


def _show(out: TextIO, path: Path, *, follow: bool, lines: int) -> None:
    stream = path.open(encoding="utf-8", errors="replace")
    out.writelines(deque(stream, maxlen=lines))
    while follow:
        out.writelines(stream)
        out.flush()
        if _rotated(stream, path):
            out.writelines(stream)
            stream.close()
            stream = path.open(encoding="utf-8", errors="replace")
        else:
            select.select((), (), (), POLL)
    out.flush()
    stream.close()


def _rotated(stream: TextIO, path: Path) -> bool:
    try:
        return os.fstat(stream.fileno()).st_ino != path.stat().st_ino
    except FileNotFoundError:
        return False
