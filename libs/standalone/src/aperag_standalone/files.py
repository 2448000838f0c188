"""Small files of the data directory: written whole or not at all, private where they hold secrets."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

PRIVATE_DIRECTORY = 0o700
SECRET_BYTES = 32


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` in one step; never readable by others, not even for a moment."""
    _written(path, text).replace(path)


def secret(path: Path) -> str:
    """The secret kept at ``path``; made when first asked for, and the same for all who ask at the same time."""
    if not path.exists():
        fresh = _written(path, secrets.token_hex(SECRET_BYTES))
        with suppress(FileExistsError):  # somebody else was first: theirs it is
            os.link(fresh, path)
        fresh.unlink()
    return path.read_text(encoding="utf-8").strip()


def _written(path: Path, text: str) -> Path:
    """A file beside ``path`` that is about to take its place."""
    path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # closed to others
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return Path(fresh)
