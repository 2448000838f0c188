"""Events of another service on real processes that are killed: every one ends in exactly one state of its document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMAND = "outside --events 60 --kills 4 --singles 2 -o json"


@pytest.mark.timeout(420)
@pytest.mark.long
def test_no_event_is_lost_or_doubled_while_what_carries_it_is_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *COMMAND.split()],
        cwd=ROOT,
        env=os.environ,  # noqa: TID251  the caller's own settings
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [summary] = json.loads(done.stdout)["sections"]["outside"]
    assert {name: summary[name] for name in ("events", "kills", "lost", "duplicated", "orphaned", "stuck")} == {
        "events": 60,
        "kills": 4,
        "lost": 0,
        "duplicated": 0,
        "orphaned": 0,
        "stuck": 0,
    }
