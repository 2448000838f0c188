"""Records a data directory with open work as the code of one commit leaves it: ``record_upgrade CHECKOUT OUT.tar.gz``.

CHECKOUT is a checkout of that commit. Its stack runs with the third-party packages of the interpreter that runs this
script, so requirements/run.txt of CHECKOUT must ask for no other versions than that environment has.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from expectation import expected
from recording import Recording
from stack import Stack

LEFT_OUT = "APERAG_SPANS"
"""A stream that holds no work and would be large where it is kept in a file."""


def main() -> None:
    checkout, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    home = Path(tempfile.mkdtemp(prefix="aperag-record-"))
    home.chmod(0o711)  # PostgreSQL may run as another user
    stack = Stack(checkout, home)
    recording = Recording(stack)
    try:
        recording.record()
    except BaseException:
        stack.stop_nats()
        stack.crash()
        raise
    ends = json.dumps(expected(recording), indent=1, ensure_ascii=False)
    parts = {
        "expected.json": ends.encode(),
        "database.sql.gz": gzip.compress(stack.crash().encode(), mtime=0),
        "jetstream.tar.gz": packed(home / "nats" / "jetstream"),
        "objects.tar.gz": packed(home / "objects"),
        "secrets.tar.gz": packed(home / "secrets"),
    }
    with tarfile.open(out, "w:gz") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    shutil.rmtree(home)


def packed(directory: Path) -> bytes:
    """A tar.gz of what lies in ``directory``, without owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(directory, arcname=".", filter=_anonymous)
    return buffer.getvalue()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if LEFT_OUT in member.name else member


if __name__ == "__main__":
    main()
