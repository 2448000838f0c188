"""What the command line reads from its environment; names and defaults are here and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_HOME = ".aperag"
API_URL = "APERAG_API_URL"
API_KEY = "APERAG_API_KEY"
TRACES_TOKEN = "APERAG_TRACES_TOKEN"  # noqa: S105  a name


def config() -> Path:
    """Where this user's programs keep their configuration."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config").absolute()


def home() -> Path:
    """The data directory of the stack on this machine."""
    return Path(os.environ.get("APERAG_HOME") or DEFAULT_HOME).absolute()
