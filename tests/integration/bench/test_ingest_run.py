"""A whole benchmark, as small as it can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMAND = "ingest --corpus generated --documents 5 --singles 2 --concurrency 2 -o json"


@pytest.mark.timeout(180)
@pytest.mark.long
def test_ingest_measures_a_stack_of_its_own_and_the_same_work_without_services() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *COMMAND.split()],
        cwd=ROOT,
        env=os.environ,  # noqa: TID251  the caller's own settings
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (bulk,) = (rows for title, rows in report["sections"].items() if title.startswith("bulk: generated"))
    told = {row["what"]: row for row in bulk}
    assert told["documents"] == {"what": "documents", "stack": 5, "pure": 5}
    assert told["of these failed"]["stack"] == 0
    assert told["chunks"]["stack"] == told["chunks"]["pure"] >= 5
    assert told["efficiency"]["stack"] > 0
    cpu = {row["process"]: row for row in report["sections"]["CPU ms per document"]}
    assert {"api", "indexer", "reconciler", "nats", "postgres", "pool"} <= cpu.keys()
    assert all(cpu[name]["stack"] > 0 for name in ("api", "indexer", "postgres", "pool"))
    assert {target["name"] for target in report["targets"]} >= {"efficiency"}
