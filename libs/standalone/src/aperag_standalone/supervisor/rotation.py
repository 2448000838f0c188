"""A log file that a process' output is appended to, with a few older generations beside it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MAX_BYTES = 10 * 1024 * 1024
KEPT = 3
TAIL = 2_000
CHUNK = 64 * 1024


class RotatingLog:
    """``name.log``, then ``name.log.1`` … ``name.log.3``, each about ``max_bytes`` long; lines stay whole."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._stream: BinaryIO = path.open("ab", buffering=0)

    def write(self, output: bytes) -> None:
        self._stream.write(output)
        if output.endswith(b"\n") and self._stream.tell() >= self._max_bytes:
            self._rotate()

    async def copy(self, descriptor: int) -> None:
        """Append what is written to a pipe until its last writer is gone, then close it."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        source = os.fdopen(descriptor, "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        try:
            while output := await reader.read(CHUNK):
                self.write(output)
        finally:
            transport.close()

    def tail(self) -> str:
        with self.path.open("rb") as stream:
            stream.seek(max(0, self.path.stat().st_size - TAIL))
            return stream.read().decode(errors="replace").strip()

    def close(self) -> None:
        self._stream.close()

    def _rotate(self) -> None:
        self._stream.close()
        for number in range(self._kept - 1, 0, -1):
            older = self._generation(number)
            if older.exists():
                older.replace(self._generation(number + 1))
        self.path.replace(self._generation(1))
        self._stream = self.path.open("ab", buffering=0)

    def _generation(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
