"""A document as a client uploads it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """``name`` is unique in its corpus; its suffix says how it is read."""

    name: str
    body: bytes

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix.lower()


def take(documents: Sequence[CorpusDocument], wanted: int) -> list[CorpusDocument]:
    """As many as ``wanted``, 0 for all; a corpus that holds fewer begins again under other names."""
    if wanted in {0, len(documents)}:
        return list(documents)
    repeated = enumerate(islice(cycle(documents), wanted))
    return [
        document
        if number < len(documents)
        else CorpusDocument(f"{number // len(documents)}-{document.name}", document.body)
        for number, document in repeated
    ]
