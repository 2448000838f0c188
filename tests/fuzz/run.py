"""``python -m tests.fuzz.run``: the gateway of a stack of its own against its own OpenAPI description."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from aperag_testing.stack import Stack

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
FEWEST_CASES = 500
"""A run that tried less has tested nothing."""


def main() -> int:
    arguments = parsed()
    with tempfile.TemporaryDirectory(prefix="aperag-fuzz-") as name:
        scratch = Path(name)
        stack = Stack(scratch / "home", os.environ)
        started = stack.up()
        if started.returncode:
            print(started.stdout + started.stderr)
            return 1
        try:
            code = fuzz(stack, scratch, arguments)
            return usable(stack) or code
        finally:
            if arguments.logs:
                shutil.copytree(scratch / "home" / "log", arguments.logs, dirs_exist_ok=True)
            stack.down()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-examples", type=int, default=60, help="cases per operation and phase")
    parser.add_argument("--seconds", type=int, default=540, help="time budget")
    parser.add_argument("--seed", type=int, default=5, help="the same seed makes the same requests")
    parser.add_argument("--logs", type=Path, default=None, help="folder for the stack's logs")
    return parser.parse_args()


def fuzz(stack: Stack, scratch: Path, arguments: argparse.Namespace) -> int:
    report = scratch / "report.ndjson"
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={CONFIG}",
        "run",
        f"{stack.url}/openapi.json",
        f"--header=Authorization: Bearer {stack.api_key}",
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={arguments.max_examples}",
        f"--max-time={arguments.seconds}",
        f"--seed={arguments.seed}",
        "--workers=1",  # the generator is not safe in threads
        "--continue-on-failure",
        "--no-shrink",
        "--request-timeout=60",
        "--suppress-health-check=all",
        "--warnings=off",
        f"--report-ndjson-path={report}",
        "--report=ndjson",
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "APERAG_FUZZ_KEY_ID": key_id(stack), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=scratch, env=os.environ | hooks, check=False)
    tried = Tried.of(report)
    described = sum(len(item) for item in httpx.get(f"{stack.url}/openapi.json").json()["paths"].values())
    print(f"operations: {described} described, {len(tried.operations)} tried")
    print(f"cases: {sum(tried.statuses.values())}, checks: {tried.checks}, failed checks: {tried.failed}")
    print("answers: " + ", ".join(f"{status}: {count}" for status, count in sorted(tried.statuses.items())))
    if tried.statuses.total() < FEWEST_CASES:
        print(f"FAILED   fewer than {FEWEST_CASES} cases were tried")
        return 1
    if tried.statuses[HTTPStatus.UNAUTHORIZED] * 2 > tried.statuses.total():
        print("FAILED   most requests were not let in: they have tested the door only")
        return 1
    return done.returncode


def key_id(stack: Stack) -> str:
    """Of the key that the run itself uses."""
    with client_of(stack) as client:
        keys = client.get("/api/v1/apikeys").raise_for_status().json()["items"]
    return str(min(keys, key=lambda key: str(key["created_at"]))["id"])


def client_of(stack: Stack) -> httpx.Client:
    return httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {stack.api_key}"}, timeout=30)


@dataclass
class Tried:
    """What a run did, in numbers."""

    operations: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    checks: int = 0
    failed: int = 0

    @classmethod
    def of(cls, report: Path) -> Tried:
        tried = cls()
        with report.open(encoding="utf-8") as lines:
            for line in lines:
                finished = json.loads(line).get("ScenarioFinished")
                if finished is not None:
                    tried.count(finished["recorder"])
        return tried

    def count(self, recorder: dict[str, Any]) -> None:
        answers = [it["response"] for it in recorder.get("interactions", {}).values() if it.get("response")]
        if answers:
            self.operations.add(recorder["label"])
        self.statuses.update(answer["status_code"] for answer in answers)
        for checks in recorder.get("checks", {}).values():
            self.checks += len(checks)
            self.failed += sum(check["status"] == "failure" for check in checks)


def usable(stack: Stack) -> int:
    """After all that the gateway still does its work, and all services are ready."""
    with client_of(stack) as client:
        answers = [client.get(path) for path in ("/readyz", "/api/v1/collections")]
    wrong = [f"{answer.url}: {answer.status_code} {answer.text[:200]}" for answer in answers if not answer.is_success]
    print("\n".join(wrong) or "the gateway is ready, and its key still works")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
