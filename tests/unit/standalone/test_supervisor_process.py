"""What the process of the supervisor is made of."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = ("sqlalchemy", "faststream", "numpy", "fastapi", "alembic", "aperag_common.db.models")


def test_it_loads_only_what_it_uses() -> None:
    """It rests beside every stack: what it loads costs each start, and memory for as long as the stack runs."""
    look = (
        f"import sys, aperag_standalone.supervisor.__main__; print([it for it in {FORBIDDEN!r} if it in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
