"""Wrong passwords slow down further tries for the same name and from the same place, for all replicas together."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from starlette.exceptions import HTTPException

from aperag_common import errors
from aperag_common.auth.derived import derive
from aperag_common.http.front import place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import SecretStr
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.identity.settings import LoginSettings

PURPOSE = "aperag/login-throttle"

# A block that ends later than any can was set before the database's clock was set back.
_FREE = """(t.blocked_until IS NULL OR t.blocked_until <= clock_timestamp()
    OR t.blocked_until > clock_timestamp() + CAST(:longest AS interval))"""
_FAILURES = (
    """(CASE WHEN t.failed_at < clock_timestamp() - CAST(:forgotten AS interval) THEN 1 ELSE t.failures + 1 END)"""
)
_BLOCK = "least(CAST(:first AS interval) * power(2, least({past}, 30)), CAST(:longest AS interval))"

# A try counts as failed before its password is looked at, and is taken back if that was right: of many at once all
# would pass otherwise before the first of them is counted. Of what is blocked no row comes back.
_COUNT = text(
    f"""
    INSERT INTO login_throttle AS t (id, failures, failed_at, blocked_until)
    VALUES (:id, 1, clock_timestamp(),
        CASE WHEN CAST(:allowed AS int) <= 1 THEN clock_timestamp() + {_BLOCK.format(past="0")} END)
    ON CONFLICT (id) DO UPDATE SET failures = {_FAILURES}, failed_at = clock_timestamp(),
        blocked_until = CASE WHEN {_FAILURES} >= CAST(:allowed AS int)
            THEN clock_timestamp() + {_BLOCK.format(past=f"{_FAILURES} - CAST(:allowed AS int)")} END
    WHERE {_FREE}
    RETURNING failures
    """
)
_BLOCKED_FOR = text(
    "SELECT extract(epoch FROM blocked_until - clock_timestamp())::float FROM login_throttle WHERE id = :id"
)
_FORGET = text("DELETE FROM login_throttle WHERE id = :id")
_TAKE_BACK = text("UPDATE login_throttle SET failures = greatest(failures - 1, 0), blocked_until = NULL WHERE id = :id")


@dataclass(slots=True)
class Attempt:
    """``right`` is to be set once the password was."""

    right: bool = False


@dataclass(frozen=True, slots=True)
class Throttle:
    """What is counted stands in the table as a keyed hash: neither names nor addresses can be read there."""

    engine: AsyncEngine
    settings: LoginSettings
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, engine: AsyncEngine, settings: LoginSettings, secret: SecretStr) -> Throttle:
        return cls(engine, settings, derive(secret, PURPOSE))

    @asynccontextmanager
    async def attempt(self, what: str, name: str, address: str = "") -> AsyncIterator[Attempt]:
        """One try of a password; raises 429 where there were too many wrong ones lately.

        ``what`` keeps logins apart from other uses of a password. A right one forgets the failures of the name.
        """
        named = self._id(what, name)
        placed = self._id("address", place(address)) if address else None
        async with self.engine.begin() as conn:
            await self._count(conn, named, self.settings.name_failures)
            if placed is not None:
                await self._count(conn, placed, self.settings.address_failures)
        attempt = Attempt()
        try:
            yield attempt
        except errors.Retryable:
            await self._settle(_TAKE_BACK, named, placed)
            raise
        if attempt.right:
            await self._settle(_FORGET, named, placed)

    async def _count(self, conn: AsyncConnection, id_: str, allowed: int) -> None:
        values: dict[str, Any] = {
            "id": id_,
            "allowed": allowed,
            "first": self.settings.first_block,
            "longest": self.settings.longest_block,
            "forgotten": self.settings.forgotten,
        }
        if (await conn.execute(_COUNT, values)).one_or_none() is None:
            left = (await conn.execute(_BLOCKED_FOR, {"id": id_})).scalar_one_or_none()
            seconds = max(1, ceil(left or 0))
            message = f"There were too many wrong passwords: try again in {seconds} s"
            raise HTTPException(429, message, headers={"Retry-After": str(seconds)})

    async def _settle(self, name_statement: Any, named: str, placed: str | None) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(name_statement, {"id": named})
            if placed is not None:
                await conn.execute(_TAKE_BACK, {"id": placed})

    def _id(self, what: str, value: str) -> str:
        return hmac.new(self.key, f"{what}\0{value}".encode(), hashlib.sha256).hexdigest()
