"""SQL of the audit log."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_api.identity.audit.schemas import AuditLogOut
from aperag_api.kernel.reading import containing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page


@dataclass(frozen=True, slots=True)
class Entry:
    """A call as far as it is known; ``elapsed`` is milliseconds since it came in."""

    id: str
    user_id: str | None
    username: str | None
    resource_type: str | None
    resource_id: str | None
    api_name: str
    http_method: str
    path: str
    elapsed: int
    request_data: dict[str, Any] | None
    ip_address: str | None
    user_agent: str | None
    request_id: str
    status_code: int | None = None
    response_data: dict[str, Any] | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for; None does not matter. ``search`` is part of a path, a name or an ``api_name``."""

    user_id: str | None = None
    username: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    api_name: str | None = None
    http_method: str | None = None
    status_code: int | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    search: str | None = None


_GIVEN = """
    jsonb_to_recordset(CAST(:entries AS jsonb)) AS e(id text, user_id text, username text, resource_type text,
        resource_id text, api_name text, http_method text, path text, elapsed bigint, request_data jsonb,
        ip_address text, user_agent text, request_id text, status_code int, response_data jsonb, error_message text)
"""
_INSERT = """
    INSERT INTO audit_log (id, user_id, username, resource_type, resource_id, api_name, http_method, path,
        start_time, end_time, request_data, ip_address, user_agent, request_id, status_code, response_data,
        error_message)
    SELECT id, user_id, username, resource_type, resource_id, api_name, http_method, path, {now} - elapsed, {end},
        request_data, ip_address, user_agent, request_id, status_code, response_data, error_message
"""
_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"

# Nobody waits for the disk: the log of PostgreSQL is written in order, so that a change that the call commits later
# cannot be on disk without this row.
_BEGIN = text(
    f"""
    WITH unhurried AS (SELECT set_config('synchronous_commit', 'off', true))
    {_INSERT.format(now=_NOW, end="NULL")} FROM {_GIVEN}, unhurried ON CONFLICT (id) DO NOTHING
    """
)

# A call that was refused before its intent could be written gets its row now.
_END = text(
    f"""
    {_INSERT.format(now=_NOW, end=_NOW)} FROM {_GIVEN}
    ON CONFLICT (id) DO UPDATE SET end_time = excluded.end_time, status_code = excluded.status_code,
        user_id = excluded.user_id, username = excluded.username, resource_id = excluded.resource_id,
        request_data = excluded.request_data, response_data = excluded.response_data,
        error_message = excluded.error_message
    """
)

_COLUMNS = ", ".join(AuditLogOut.model_fields)
_MATCHING = """
    WHERE (CAST(:user_id AS text) IS NULL OR user_id = :user_id)
        AND (CAST(:username AS text) IS NULL OR username = :username)
        AND (CAST(:resource_type AS text) IS NULL OR resource_type = :resource_type)
        AND (CAST(:resource_id AS text) IS NULL OR resource_id = :resource_id)
        AND (CAST(:api_name AS text) IS NULL OR api_name ILIKE :api_name)
        AND (CAST(:http_method AS text) IS NULL OR http_method = :http_method)
        AND (CAST(:status_code AS int) IS NULL OR status_code = :status_code)
        AND (CAST(:start_date AS timestamptz) IS NULL OR created >= :start_date)
        AND (CAST(:end_date AS timestamptz) IS NULL OR created <= :end_date)
        AND (CAST(:search AS text) IS NULL OR path ILIKE :search OR username ILIKE :search OR api_name ILIKE :search)
"""
_COUNT = text(f"SELECT count(*) FROM audit_log {_MATCHING}")
_GET = text(f"SELECT {_COLUMNS} FROM audit_log WHERE id = :id AND (CAST(:user AS text) IS NULL OR user_id = :user)")


async def begin(conn: AsyncConnection, entries: Sequence[Entry]) -> None:
    await conn.execute(_BEGIN, {"entries": _encoded(entries)})


async def end(conn: AsyncConnection, entries: Sequence[Entry]) -> None:
    await conn.execute(_END, {"entries": _encoded(entries)})


async def page(
    conn: AsyncConnection, wanted: Filter, *, sort: str, order: str, page: Page
) -> tuple[list[AuditLogOut], int]:
    """One page and the number of all; ``sort`` and ``order`` come from enums, never from the request's own text."""
    parts = {name: None if part is None else containing(part) for name, part in _parts(wanted)}
    values = {**asdict(wanted), **parts}
    total = int((await conn.execute(_COUNT, values)).scalar_one())
    listing = f"""
        SELECT {_COLUMNS} FROM audit_log {_MATCHING}
        ORDER BY {sort} {order} NULLS LAST, id {order} LIMIT :limit OFFSET :offset
    """
    rows = await conn.execute(text(listing), {**values, **page.bounds})
    return [AuditLogOut(**row._mapping) for row in rows], total


async def get(conn: AsyncConnection, entry_id: str, *, user_id: str | None) -> AuditLogOut | None:
    """Of this user alone, or of anybody for None."""
    row = (await conn.execute(_GET, {"id": entry_id, "user": user_id})).one_or_none()
    return None if row is None else AuditLogOut(**row._mapping)


def _parts(wanted: Filter) -> tuple[tuple[str, str | None], ...]:
    return ("search", wanted.search), ("api_name", wanted.api_name)


def _encoded(entries: Sequence[Entry]) -> str:
    return json.dumps([asdict(entry) for entry in entries], allow_nan=False)
