"""Known vulnerabilities of the pinned dependencies; where the database is not reached, that is said and no success."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements"
SOUND, VULNERABLE, UNKNOWN = 0, 1, 2


def main() -> int:
    return max(audit(pins) for pins in (PINS / "run.txt", PINS / "dev.txt"))


def audit(pins: Path) -> int:
    """``--disable-pip``: the pins are complete and hashed, so nothing has to be resolved or installed."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        program = str(Path(sys.executable).with_name("pip-audit"))
        done = subprocess.run(
            [
                program,
                "--disable-pip",
                "--no-deps",
                "--progress-spinner=off",
                "--format=json",
                f"--output={report}",
                f"--requirement={pins}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    return judged(pins.name, found.get("dependencies", []), done.stderr)


def judged(pins: str, dependencies: list[dict[str, Any]], said: str) -> int:
    skipped = [it["name"] for it in dependencies if "skip_reason" in it]
    looked_at = len(dependencies) - len(skipped)
    vulnerable = [it for it in dependencies if it.get("vulns")]
    for it in vulnerable:
        for known in it["vulns"]:
            mended = ", ".join(known["fix_versions"]) or "nowhere yet"
            print(f"{pins}: {it['name']} {it['version']}: {known['id']}, mended in {mended}")
    print(f"{pins}: {looked_at} of {len(dependencies)} dependencies looked up, {len(vulnerable)} vulnerable")
    if vulnerable:
        return VULNERABLE
    if skipped or not dependencies:
        why = said.strip().rpartition("\n")[2] if not dependencies else f"{len(skipped)} are unknown to it"
        print(f"{pins}: not audited: the vulnerability database was not reached ({why})")
        return UNKNOWN
    return SOUND


if __name__ == "__main__":
    sys.exit(main())
