"""Runs the small inputs of public bug reports through reader, chunker and analyzer: ``just check-cases [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cases.table import CASES

from aperag_common import errors

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "cases"


def main(folder: Path) -> int:
    if not folder.is_dir():
        print(f"{folder} is not there: name the folder that holds the inputs", file=sys.stderr)
        return 2
    wrong = 0
    for case in CASES:
        try:
            faults = list(case.faults(folder))
        except errors.ApeRAGError as err:
            faults = [f"{err.error_code}: {err.message}"]
        wrong += bool(faults)
        for fault in faults:
            print(f"{case.file}: {fault}")
    print(f"{len(CASES) - wrong} of {len(CASES)} are right")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
