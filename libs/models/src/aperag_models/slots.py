"""A provider's slots: how many calls may be under way there, counted over all processes."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from aperag_common import errors
from aperag_common.db.session import autocommit
from aperag_models import repository

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=30)
"""A process that dies blocks its slots for so long."""
RENEWED_EVERY = 10.0
FIRST_LOOK, LAST_LOOK = 0.02, 0.25
"""Seconds between two looks for a free slot."""


@dataclass(slots=True)
class Slots:
    """Slots are rows with a lease: what a process held that died is free again when the lease ends.

    Within a process who waits stands in line, and only the first of them asks the database.
    """

    engine: AsyncEngine
    count: int
    _held: set[str] = field(default_factory=set)
    _opened: set[str] = field(default_factory=set)
    _lines: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _renewing: asyncio.Task[None] | None = None

    async def take(self, provider: str, *, until: float) -> str:
        """A token to give back with ``free``. ``until``: monotonic time; raises ``Busy`` when it is reached."""
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
                async with self._lines[provider]:
                    token = await self._take(provider)
        except TimeoutError as err:
            paused = await self._paused(provider)
            if paused > 0:
                message = f"The provider {provider} takes requests again in {paused:.0f} s."
                raise errors.RateLimited(message, retry_after=timedelta(seconds=paused)) from err
            message = f"All {self.count} slots of the provider {provider} stayed taken. Try again later."
            raise errors.Busy(message) from err
        self._held.add(token)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return token

    async def free(self, provider: str, token: str) -> None:
        """What cannot be freed now is free when its lease ends."""
        self._held.discard(token)
        with suppress(SQLAlchemyError, OSError):
            async with autocommit(self.engine) as conn:
                await repository.free_slot(conn, provider, token)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})

    async def _take(self, provider: str) -> str:
        token, look = secrets.token_hex(12), FIRST_LOOK
        if provider not in self._opened:
            await self._open(provider)
        while True:
            async with autocommit(self.engine) as conn:
                if await repository.take_slot(conn, provider, token, slots=self.count, lease=LEASE):
                    return token
            await asyncio.sleep(look * random.uniform(0.5, 1))  # noqa: S311  spreads callers, hides nothing
            look *= 1.5
            if look > LAST_LOOK:
                look = LAST_LOOK
                await self._open(provider)

    async def _open(self, provider: str) -> None:
        """Again while waiting: who deletes a provider and makes it anew takes its slots away."""
        async with autocommit(self.engine) as conn:
            await repository.open_slots(conn, provider, self.count)
        self._opened.add(provider)

    async def _paused(self, provider: str) -> float:
        async with autocommit(self.engine) as conn:
            return await repository.paused_seconds(conn, provider)

    async def _renew(self) -> None:
        while self._held:
            await asyncio.sleep(RENEWED_EVERY)
            try:
                async with autocommit(self.engine) as conn:
                    await repository.renew_slots(conn, list(self._held), LEASE)
            except (SQLAlchemyError, OSError) as err:
                log.warning("provider_slots.not_renewed", error=repr(err))
