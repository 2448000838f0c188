"""``python -m tests.asyncapi.run``: our AsyncAPI document against the parser of the AsyncAPI Initiative."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "asyncapi.json"
PINS = ("package.json", "package-lock.json", "check.cjs")
INSTALL_SECONDS, PARSE_SECONDS = 600, 60


def main() -> int:
    if shutil.which("npm") is None:
        sys.stdout.write("skipped: npm is not installed (it comes with Node.js); a JSON schema is checked without it\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="asyncapi-") as name:
        scratch = Path(name)
        for pin in PINS:
            shutil.copy(HERE / pin, scratch / pin)
        install = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        installed = subprocess.run(install, cwd=scratch, timeout=INSTALL_SECONDS, check=False)
        if installed.returncode != 0:
            return installed.returncode
        return subprocess.run(
            ["node", "check.cjs", str(DOCUMENT)], cwd=scratch, timeout=PARSE_SECONDS, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
