"""What the process of the console is made of."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = ("sqlalchemy", "asyncpg", "nats", "faststream", "numpy", "fastapi", "aperag_common.db", "aperag_common.bus",
             "rich", "pygments", "httpx2")  # fmt: skip


def test_it_knows_neither_database_nor_bus() -> None:
    """Imports, not settings: what it cannot load it cannot use, and does not pay for."""
    look = f"import sys, aperag_console.__main__; print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
