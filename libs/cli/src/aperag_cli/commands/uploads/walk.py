"""Which documents the given paths hold, and what each one is called in its collection.

A name must be unique in its collection, and must be the same in every run: else a second run would send again what the
first one sent. So it depends on nothing but the path below the folder that was given: ``guides/intro.md`` becomes
``guides__intro.md``, whether or not another folder has an ``intro.md`` too.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEPARATOR = "__"
"""Between folders in a name: legal in a file name everywhere, and no path to anybody."""

SUFFIXES = frozenset(
    (
        *(".txt", ".text", ".md", ".markdown", ".html", ".htm", ".ipynb", ".csv", ".json", ".xml"),
        *(".pdf", ".doc", ".docx", ".ppt", ".pptx", ".xls", ".xlsx", ".epub", ".eml", ".msg"),
        *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
        *(".mp3", ".mp4", ".mpeg", ".mpga", ".m4a", ".wav", ".webm", ".ogg", ".flac"),
        *(".zip", ".rar", ".r00", ".7z", ".tar", ".gz", ".xz", ".bz2"),
    )
)
"""What the contract accepts (1.4). Decides only what is taken out of folders: the gateway has the last word."""

_UNSAFE = str.maketrans({'"': "_", "\\": "_", "/": "_"})


@dataclass(frozen=True, slots=True)
class Source:
    """One document on disk; ``name`` is what it is called in the collection."""

    path: Path
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that was not accepted."""

    path: Path
    reason: str


@dataclass(slots=True)
class Found:
    """``hidden`` and ``unsupported`` count what was passed over in folders; hidden folders count once."""

    refused: list[Refusal] = field(default_factory=list)
    hidden: int = 0
    unsupported: int = 0
    folders: list[Path] = field(default_factory=list)
    named: dict[str, Source] = field(default_factory=dict)

    @property
    def sources(self) -> list[Source]:
        return list(self.named.values())


def walk(paths: Sequence[Path], *, recursive: bool) -> Found:
    """In a fixed order; a folder is noted in ``folders`` and not entered unless ``recursive``."""
    found = Found()
    for path in paths:
        if not path.is_dir():
            _take(found, path, path.name)
        elif recursive:
            for below in _below(path, found):
                _take(found, below, SEPARATOR.join(below.relative_to(path).parts))
        else:
            found.folders.append(path)
    return found


def clean(raw: str) -> str:
    """``raw`` as the gateway keeps it: composed, and without what a form or a path cannot carry."""
    decodable = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    composed = unicodedata.normalize("NFC", decodable).translate(_UNSAFE).strip()
    return "".join("_" if unicodedata.category(it) == "Cc" else it for it in composed)


def _below(folder: Path, found: Found) -> Iterator[Path]:
    """Visible documents of supported kinds; links to folders are not followed, so that no walk goes in circles."""
    for where, folders, names in os.walk(folder, onerror=lambda err: _refuse(found, Path(err.filename), err)):
        found.hidden += sum(name.startswith(".") for name in (*folders, *names))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith(".") or not path.is_file():
                continue
            if path.suffix.lower() in SUFFIXES:
                yield path
            else:
                found.unsupported += 1


def _take(found: Found, path: Path, raw_name: str) -> None:
    name = clean(raw_name)
    known = found.named.get(name)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            found.refused.append(Refusal(path, "it is no regular file"))
        elif known is None:
            found.named[name] = Source(path, name, status.st_size)
        elif not known.path.samefile(path):
            reason = f"{known.path} would have the same name, {name!r}: upload it to another collection, or rename it"
            found.refused.append(Refusal(path, reason))
    except OSError as err:
        _refuse(found, path, err)


def _refuse(found: Found, path: Path, err: OSError) -> None:
    found.refused.append(Refusal(path, err.strerror or str(err)))
