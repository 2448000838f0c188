"""What the command line reads from its environment; names and defaults are here and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from aperag_standalone.home import Home

DEFAULT_HOME = ".aperag"
API_URL = "APERAG_API_URL"
API_KEY = "APERAG_API_KEY"


def home() -> Home:
    return Home(Path(os.environ.get("APERAG_HOME") or DEFAULT_HOME).absolute())
