"""The engine's way to PostgreSQL: asyncpg's own prepared statements on a few connections, traced by the statement.

SQLAlchemy stays for models, migrations and whatever is not hot. Statements of the engine that belong to a caller's
SQLAlchemy transaction run on that transaction's own connection (``driver``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import asyncpg
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from aperag_common import errors
from aperag_common.db.session import UNAVAILABLE as _SERVER_AWAY
from aperag_common.db.session import database_url
from aperag_common.telemetry import propagate
from aperag_common.telemetry.record import DB_OPERATION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aperag_common.settings import PostgresSettings

Connection = asyncpg.Connection
Record = asyncpg.Record

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, OSError, TimeoutError)
"""What a statement may raise, whichever way it took."""

AWAY = (*_SERVER_AWAY, asyncpg.InterfaceError, OSError, TimeoutError)
"""The database is not there: who comes after need not find that out for themselves, one time limit after the other."""

CONNECT_SECONDS = 10.0
STATEMENT_SECONDS = 60.0
POOL_SIZE = 4
"""Of each of the two pools of a process."""

# Every statement of the engine looks rows up by their keys, however many there are. Left to itself the planner plans
# anew at each call, or keeps a plan that it made while a table was empty: a scan of all jobs for each claim.
_BY_KEY = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "idle_in_transaction_session_timeout": "30s",
}


class Database:
    """Two small pools, opened as they are needed.

    What commits on a ``relaxed`` connection may be forgotten where PostgreSQL is killed in the next fraction of a
    second: claims, renewals and relay marks, whose loss costs an attempt or a repeated event. Whatever was accepted or
    completed is on the disk before anybody hears of it.
    """

    def __init__(self, settings: PostgresSettings, *, name: str, size: int = POOL_SIZE) -> None:
        self.durable = Pool(settings, name=name, size=size, options=_BY_KEY)
        self.relaxed = Pool(settings, name=name, size=size, options={**_BY_KEY, "synchronous_commit": "off"})

    async def close(self) -> None:
        await self.durable.close()
        await self.relaxed.close()


class Pool:
    """Connections without a reset between two users: nobody changes them but by a transaction that ends."""

    def __init__(self, settings: PostgresSettings, *, name: str, size: int, options: dict[str, str]) -> None:
        url = database_url(settings).set(drivername="postgresql")
        self._dsn = url.render_as_string(hide_password=False)
        self._options = {"application_name": name, **options}
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._closed = False

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        async with self._slots:
            conn = await self._take()
            try:
                yield conn
            except BaseException:
                # A statement that was cancelled, or failed in the middle, leaves nobody a clean connection.
                conn.terminate()
                raise
            self._give_back(conn)

    async def fetch(self, statement: Statement, *arguments: Any) -> list[Record]:
        """One statement, which is a transaction of its own."""
        async with self.acquire() as conn:
            return await statement.fetch(conn, *arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Committed where the block ends, rolled back where it raises."""
        async with self._slots:
            conn = await self._take()
            try:
                await conn.execute("BEGIN")
                yield conn
                await conn.execute("COMMIT")
            except BaseException as err:
                await self._abandon(conn, err)
                raise
            self._give_back(conn)

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            conn = self._idle.pop()
            try:
                await conn.close(timeout=2)
            except FAILURES:
                conn.terminate()

    async def _take(self) -> Connection:
        while self._idle:
            conn = self._idle.pop()
            if not conn.is_closed():
                return conn
        try:
            conn = await asyncpg.connect(
                self._dsn,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_SECONDS,
                server_settings=self._options,
                statement_cache_size=256,
            )
        except asyncpg.PostgresError as err:
            raise ConnectionError(str(err)) from err
        await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        return conn

    def _give_back(self, conn: Connection) -> None:
        if self._closed or conn.is_closed():
            conn.terminate()
        else:
            self._idle.append(conn)

    async def _abandon(self, conn: Connection, err: BaseException) -> None:
        """A transaction that merely failed is rolled back and its connection kept; else nothing of it is."""
        if isinstance(err, Exception) and not isinstance(err, AWAY) and not conn.is_closed():
            with contextlib.suppress(*FAILURES):
                await conn.execute("ROLLBACK")
                self._give_back(conn)
                return
        conn.terminate()


class Statement:
    """SQL with a name for its spans: one per call, however many rows it is about, and none outside a trace."""

    def __init__(self, name: str, sql: str) -> None:
        self.name = name
        self.sql = re.sub(r"\s*\n\s*", " ", sql).strip()
        changes = re.search(r"\b(INSERT|UPDATE|DELETE)\b", self.sql)
        self.operation = changes[1] if changes else "SELECT"

    async def fetch(self, conn: Connection, *arguments: Any) -> list[Record]:
        if not get_current_span().is_recording():
            return await conn.fetch(self.sql, *arguments)
        span = propagate.tracer().start_span(
            f"sql {self.name}", kind=SpanKind.CLIENT, attributes={DB_OPERATION: self.operation}
        )
        try:
            return await conn.fetch(self.sql, *arguments)
        except BaseException as err:
            span.set_status(StatusCode.ERROR, type(err).__name__)
            raise
        finally:
            span.end()

    async def row(self, conn: Connection, *arguments: Any) -> Record | None:
        """The only row, or None."""
        found = await self.fetch(conn, *arguments)
        return found[0] if found else None

    async def value(self, conn: Connection, *arguments: Any) -> Any:
        """The first column of the only row, or None."""
        found = await self.fetch(conn, *arguments)
        return found[0][0] if found else None

    async def count(self, conn: Connection, *arguments: Any) -> int:
        """How many rows a change returned."""
        return len(await self.fetch(conn, *arguments))


async def driver(conn: AsyncConnection | Connection) -> Connection:
    """The connection that a SQLAlchemy transaction runs on, inside that transaction; asyncpg's own as it is."""
    if not isinstance(conn, AsyncConnection):
        return conn
    raw = cast("Connection", (await conn.get_raw_connection()).driver_connection)
    if not raw.is_in_transaction():  # SQLAlchemy begins with its first statement
        await conn.execute(text("SELECT 1"))
    return raw


def columns(rows: Sequence[Any], *names: str) -> list[list[Any]]:
    """``unnest`` takes a batch column by column."""
    return [[getattr(row, name) for row in rows] for name in names]


def unavailable(err: BaseException) -> errors.UpstreamUnavailable:
    return errors.UpstreamUnavailable(f"{type(err).__name__} while working with the database")
