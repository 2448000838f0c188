"""Writes docs/asyncapi.json from the declared channels. The committed file is what others were promised: a change that
would break them is refused unless ``--breaking`` says that it is meant.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from aperag_common.asyncapi.breaking import breaking
from aperag_common.asyncapi.document import document

TARGET = Path(__file__).parents[1] / "docs" / "asyncapi.json"


def page() -> str:
    """The whole page, channels of other services first."""
    return json.dumps(document(), ensure_ascii=False, indent=1) + "\n"


def broken_by(target: Path) -> list[str]:
    """What readers of the page as it stands would find broken."""
    try:
        return breaking(json.loads(target.read_text(encoding="utf-8")), document())
    except (FileNotFoundError, ValueError):
        return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page is not up to date")
    parser.add_argument("--breaking", action="store_true", help="write also what breaks those who use the old document")
    parser.add_argument("--target", type=Path, default=TARGET, help="the page (default: docs/asyncapi.json)")
    arguments = parser.parse_args()
    target: Path = arguments.target
    broken = [] if arguments.breaking else broken_by(target)
    if broken:
        told = "\n".join(f"  {it}" for it in broken)
        hint = "make a new message type instead, or run scripts/messages.py --breaking"
        sys.stderr.write(f"this breaks those who use {target}; {hint}:\n{told}\n")
        return 1
    if not arguments.check:
        target.write_text(page(), encoding="utf-8")
    elif not target.exists() or target.read_text(encoding="utf-8") != page():
        sys.stderr.write(f"{target} is not up to date: run `just docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
