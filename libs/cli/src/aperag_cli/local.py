"""The stack on this machine, for commands that talk to a gateway; without ``aperag_standalone`` there is none."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STANDALONE = "aperag_standalone"
FINDER = "aperag_cli.stack.running"
"""By name, as the stack's commands are: it is a plug-in of the command line, and imports what may not be installed."""


@dataclass(frozen=True, slots=True)
class LocalStack:
    """A stack that runs now: the address of its gateway, and the files with what its clients need."""

    url: str
    api_key: Path
    traces_token: Path


def installed() -> bool:
    return find_spec(STANDALONE) is not None


def running(home: Path) -> LocalStack | None:
    if not installed():
        return None
    found: LocalStack | None = import_module(FINDER).find(home)
    return found
