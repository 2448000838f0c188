"""The systemd unit that runs the stack; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "aperag.service"
TEMPLATE = """\
# Written by `aperag service install`; `aperag service uninstall` removes it.
[Unit]
Description=ApeRAG, the stack on this machine
After=network.target

[Service]
Type=exec
ExecStart={command}
Environment={home}
# The services read their settings from the environment and from .env in here.
WorkingDirectory=-{directory}
Restart=on-failure
RestartSec=10
# Starting again would not help: wrong options, or a stack that already runs on these data.
RestartPreventExitStatus={hopeless}
# The supervisor stops the services first and the database last.
KillMode=mixed
TimeoutStopSec=90

[Install]
WantedBy=default.target
"""


def unit(python: str, home: Path, options: Sequence[str]) -> str:
    """Of the interpreter that runs this, so that no path has to be searched; ``options`` are those of `aperag up`."""
    command = (python, "-P", "-m", "aperag_cli", "up", *options)
    return TEMPLATE.format(
        command=" ".join(_quoted(part).replace("$", "$$") for part in command),
        home=_quoted(f"APERAG_HOME={home}"),
        directory=_escaped(str(home)),
        hopeless=f"{Exit.USAGE.value} {Exit.WRONG_STATE.value}",
    )


def _quoted(text: str) -> str:
    """As one word, whatever is in it."""
    inner = _escaped(text.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{inner}"' if inner != text or " " in inner or "'" in inner else inner


def _escaped(text: str) -> str:
    """Percent signs begin what systemd fills in."""
    return text.replace("%", "%%")
