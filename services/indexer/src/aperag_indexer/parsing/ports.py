"""What parsing needs from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from aperag_retrieval.chunking import ParsedDocument


class Parser(Protocol):
    """Reads a document's bytes; ``version`` changes whenever the same bytes might be read differently."""

    version: str

    async def parse(self, path: Path, *, name: str, owner: str) -> ParsedDocument:
        """Raises ``UnsupportedMedia``, ``CorruptDocument``, ``PasswordProtected``, ``OcrMissing`` or ``EmptyDocument``."""
        ...
