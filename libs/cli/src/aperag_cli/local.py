"""The stack on this machine, for commands that talk to a gateway; without ``aperag_standalone`` there is none."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STANDALONE = "aperag_standalone"


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
    from aperag_cli.stack.running import find  # noqa: PLC0415  it imports what may not be installed

    return find(home)
