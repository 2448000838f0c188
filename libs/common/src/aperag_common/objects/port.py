"""Where documents' bytes live: one port, whatever keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path


class ObjectMissing(errors.Gone):
    """No object is stored under this path."""

    code = "OBJECT_MISSING"


class ObjectTooLarge(errors.Terminal):
    """The bytes went on beyond the limit given to ``put``; nothing was kept."""

    code = "OBJECT_TOO_LARGE"


class InvalidObjectPath(errors.Terminal):
    """The path leaves the store or names nothing in it."""

    code = "INVALID_OBJECT_PATH"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What ``put`` kept; ``sha256`` is hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object as a listing shows it."""

    path: str
    size: int
    modified: datetime


class ObjectStore(Protocol):
    """Paths are relative, ``/``-separated and free of ``..``; every other one raises ``InvalidObjectPath``.

    An object appears whole or not at all, and once ``put`` has answered it survives a power cut.
    """

    async def put(self, path: str, chunks: AsyncIterator[bytes], *, limit: int | None = None) -> StoredObject:
        """Store what ``chunks`` yields, replacing what was there; stops reading at the first byte over ``limit``."""
        ...

    def open(self, path: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to, not including, ``end``; raises ``ObjectMissing`` when first read."""
        ...

    async def size(self, path: str) -> int:
        """In bytes; raises ``ObjectMissing``."""
        ...

    async def exists(self, path: str) -> bool: ...

    async def delete(self, path: str) -> None:
        """Idempotent."""
        ...

    async def delete_prefix(self, prefix: str) -> None:
        """Remove every object below ``prefix``; idempotent."""
        ...

    async def prefixes(self, prefix: str = "") -> list[str]:
        """The prefixes directly below ``prefix``, sorted, as full paths."""
        ...

    def objects(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Every object below ``prefix``."""
        ...

    async def last_change(self, prefix: str) -> datetime | None:
        """When anything below ``prefix`` changed last, None where nothing is there.

        Unlike a listing this sees objects that are still on their way in: the orphan sweep must leave them alone.
        """
        ...

    def local_path(self, path: str) -> Path | None:
        """The object as a file of this machine, for parsers that want one; None where the store is elsewhere."""
        ...
