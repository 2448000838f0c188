"""What the process of the MCP service is made of."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORBIDDEN = ("sqlalchemy", "asyncpg", "nats", "faststream", "numpy", "aperag_common.db", "aperag_common.bus")


@pytest.mark.parametrize("module", ["aperag_mcp.__main__"])
def test_it_knows_neither_database_nor_bus(module: str) -> None:
    """Imports, not settings: what it cannot load it cannot use, and does not pay for."""
    look = f"import sys, {module}; print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
