"""How much may be arriving at a time, so that one sender leaves room for the others."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from aperag_api.kernel.http.failures import TooManyRequests
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AGAIN = timedelta(seconds=5)
LATER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """``per_owner``: uploads of one user at a time; ``free_bytes``: what is left of the disk in any case."""

    directory: Path
    per_owner: int
    free_bytes: int
    _arriving: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def one(self, owner: str) -> AsyncIterator[None]:
        """While an upload is received; raises where there is no room for it."""
        if self._arriving[owner] >= self.per_owner:
            message = f"{self.per_owner} uploads of yours are still arriving: send the next ones when these have ended"
            raise TooManyRequests(message, retry_after=AGAIN)
        self._arriving[owner] += 1
        try:
            await asyncio.to_thread(self.check_room)
            yield
        finally:
            self._arriving[owner] -= 1
            if not self._arriving[owner]:
                del self._arriving[owner]

    def check_room(self) -> None:
        """Raises ``Busy`` where the disk is nearly full."""
        existing = next(place for place in (self.directory, *self.directory.parents) if place.exists())
        if shutil.disk_usage(existing).free < self.free_bytes:
            message = "The store of documents is full: delete some, or ask the operator for more room"
            raise errors.Busy(message, code="STORAGE_FULL", retry_after=LATER)
