"""Response bodies, unpacked piece by piece and never further than the caller takes."""

from __future__ import annotations

import zlib

from aperag_common.outbound.failures import BrokenResponse, TooLarge

ACCEPTED = "gzip, deflate"
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_HEADERLESS = -zlib.MAX_WBITS


class Body:
    """What has arrived of a body, unpacked.

    httpx unpacks a piece whole, and packed twice over a few kilobytes are gigabytes: here a body is packed once at
    most, and unpacking stops at the limit.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        self._packed = encoding.strip().lower() not in {"", "identity"}
        if self._packed and encoding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
            raise BrokenResponse(f"The answer is packed in a way that was not asked for: {encoding[:50]!r}")
        self._unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._limit = limit
        self._received = 0
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self._limit:
            raise self._too_large()
        if not self._packed:
            self._keep(data)
            return
        try:
            self._unpack(data)
        except zlib.error as err:
            raise BrokenResponse("The answer cannot be unpacked") from err

    def whole(self) -> bytes:
        """Raises ``BrokenResponse`` where the packed form ended early."""
        if self._packed and self._received and not self._unpacking.eof:
            raise BrokenResponse("The answer ended before it was complete")
        return b"".join(self._parts)

    def _unpack(self, data: bytes) -> None:
        while data:
            if self._unpacking.eof:  # gzip may go on with another member
                self._unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                part = self._unpacking.decompress(data, self._limit - self._size + 1)
            except zlib.error:
                if self._parts or self._received != len(data):
                    raise
                # Some servers call deflate what lacks the header that the standard asks for.
                self._unpacking = zlib.decompressobj(_HEADERLESS)
                part = self._unpacking.decompress(data, self._limit - self._size + 1)
            self._keep(part)
            data = self._unpacking.unused_data or self._unpacking.unconsumed_tail

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise self._too_large()
        self._parts.append(part)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The answer is larger than {self._limit} bytes")
