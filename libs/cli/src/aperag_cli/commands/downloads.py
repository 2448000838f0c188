"""Where a downloaded document is put; its name comes from a server and is not trusted as a path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_cli.errors import CliError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class NotSaved(CliError):
    """The document was not written."""


async def save(blocks: AsyncIterator[bytes], *, name: str, to: Path | None, force: bool) -> Path:
    """The path that holds it now; it is there whole or not at all."""
    target = _target(name, to)
    if target.exists() and not force:
        message = f"{target} exists"
        raise NotSaved(message, hint="add --force to overwrite it, or name another place: --to PATH")
    fresh = target.parent / f".aperag-{os.getpid()}.part"
    try:
        stream = fresh.open("wb")
    except OSError as err:
        message = f"cannot write to {target.parent}: {err.strerror}"
        raise NotSaved(message, hint="name another place: --to PATH") from err
    try:
        with stream:
            async for block in blocks:
                stream.write(block)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return target


def _target(name: str, to: Path | None) -> Path:
    if to is not None and not to.is_dir():
        return to
    safe = Path(name.replace("\\", "/")).name
    if safe in {"", ".", ".."} or "\0" in safe:
        message = f"the document's name, {name!r}, is not a valid file name"
        raise NotSaved(message, hint="say where to put it: --to PATH")
    return (to or Path()) / safe
