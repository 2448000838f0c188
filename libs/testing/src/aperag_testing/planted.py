"""Looking for secrets where none may be: in clear, and in the encodings in which things travel."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SHORTEST = 16
"""A secret of fewer characters would be found by accident."""


@dataclass(slots=True)
class Secrets:
    """What was planted, by what it is; ``found_in`` says which of them stand in a text, and how."""

    planted: dict[str, str] = field(default_factory=dict)

    def plant(self, name: str, value: str) -> str:
        if len(value) < SHORTEST:
            message = f"{name} is too short to be looked for"
            raise ValueError(message)
        self.planted[name] = value
        return value

    def found_in(self, haystack: bytes) -> list[str]:
        return sorted(
            f"{name} ({how})"
            for name, value in self.planted.items()
            for how, needle in _forms(value)
            if needle in haystack
        )

    def found_below(self, directory: Path, *, but: Iterable[Path] = ()) -> list[str]:
        """In the files of ``directory``, those below ``but`` excepted."""
        left_out = tuple(but)
        wrong: list[str] = []
        for path in sorted(it for it in directory.rglob("*") if it.is_file()):
            if not any(path == it or it in path.parents for it in left_out):
                wrong += [f"{path.relative_to(directory)}: {found}" for found in self.found_in(_content(path))]
        return wrong


def _forms(value: str) -> Iterator[tuple[str, bytes]]:
    raw = value.encode()
    yield "in clear", raw
    yield "in hexadecimal", raw.hex().encode()
    if (quoted := quote(value, safe="")) != value:
        yield "in a URL", quoted.encode()
    for shift in range(3):
        # Where it begins in the middle of a group of three bytes; what its neighbours have a part in is left out.
        whole = base64.b64encode(b"\0" * shift + raw)
        inner = whole[4 if shift else 0 : len(whole) - 4]
        yield "in base64", inner
        yield "in base64", inner.translate(bytes.maketrans(b"+/", b"-_"))


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""  # it was rotated away meanwhile
    return gzip.decompress(content) if path.suffix == ".gz" else content
