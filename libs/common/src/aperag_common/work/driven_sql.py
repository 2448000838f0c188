"""The statements that drive one table's rows; made once per table, for a table's name cannot be a parameter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL

if TYPE_CHECKING:
    from sqlalchemy import TextClause

ROW_COLUMNS = "id, owner, status, generation, dispatch, traceparent"
"""What a command is made of."""

# A lease that ends later than any policy sets it was taken before the database's clock was set back. It counts as
# held all the same: the re-drive makes it short again, and whoever lives renews it before it ends.
_FREE = "(lease_until IS NULL OR lease_until <= clock_timestamp())"
_FENCE = "id = :id AND generation = :generation AND lease_token = :token"
_UNLEASED = "lease_token = NULL, lease_owner = NULL, lease_until = NULL"
_UNSTARTED = "CASE WHEN status IN ('PENDING', 'CREATING') THEN 'PENDING' ELSE 'DELETING' END"
_ENDED = "settled_at = clock_timestamp(), updated = clock_timestamp(), due_at = 'infinity'"
_LEASED = "lease_until = clock_timestamp() + :lease, due_at = clock_timestamp() + :lease + :slack"


def _noted(*, worker: str, ended: str, code: str, message: str, next_try_at: str) -> str:
    """A failed attempt, added to those of this generation."""
    return f"""failed_attempts || jsonb_build_object('attempt', attempt, 'worker', {worker}, 'ended', {ended},
        'code', {code}, 'message', {message}, 'next_try_at', {next_try_at})"""


def _reported(next_try_at: str) -> str:
    return _noted(
        worker="worker",
        ended="clock_timestamp()",
        code="CAST(:code AS text)",
        message="CAST(:message AS text)",
        next_try_at=next_try_at,
    )


_UNREPORTED = _noted(
    worker="lease_owner",
    ended="lease_until",
    code="'WORKER_LOST'",
    message="CAST(:lost AS text)",
    next_try_at="NULL",
)


@dataclass(frozen=True, slots=True)
class Statements:
    """Each is one short transaction, or part of its caller's."""

    take: TextClause
    renew: TextClause
    release: TextClause
    holder: TextClause
    retry: TextClause
    fail: TextClause
    activate: TextClause
    remove: TextClause
    raise_generation: TextClause


@cache
def statements(table: str) -> Statements:
    """``table`` has the columns of ``DrivenMixin``, ``id`` and ``owner``."""
    return Statements(
        take=text(_take(table)),
        renew=text(f"UPDATE {table} SET {_LEASED} WHERE {_FENCE}"),
        release=text(_release(table)),
        holder=text(_holder(table)),
        retry=text(_retry(table)),
        fail=text(_fail(table)),
        activate=text(_activate(table)),
        remove=text(f"DELETE FROM {table} WHERE {_FENCE} RETURNING id"),
        raise_generation=text(_raise(table)),
    )


def _take(table: str) -> str:
    return f"""
        UPDATE {table} SET
            status = CASE WHEN status IN ('PENDING', 'CREATING') THEN 'CREATING' ELSE 'DELETION_IN_PROGRESS' END,
            attempt = attempt + 1, lease_token = :token, lease_owner = :worker, worker = :worker,
            failed_attempts = CASE WHEN lease_token IS NULL THEN failed_attempts ELSE {_UNREPORTED} END,
            {_LEASED}, started_at = coalesce(started_at, clock_timestamp()), updated = clock_timestamp()
        WHERE id = :id AND generation = :generation AND attempt < :max_attempts AND status IN {OPEN_SQL} AND {_FREE}
        RETURNING {ROW_COLUMNS}, attempt, failures
    """


def _release(table: str) -> str:
    return f"""
        UPDATE {table} SET {_UNLEASED}, status = {_UNSTARTED}, attempt = attempt - 1,
            due_at = clock_timestamp() + :slack, updated = clock_timestamp()
        WHERE {_FENCE}
    """


def _holder(table: str) -> str:
    return f"""
        SELECT {ROW_COLUMNS}, attempt, failures,
            greatest(extract(epoch FROM lease_until - clock_timestamp()), 0)::float AS leased_for
        FROM {table} WHERE id = :id
    """


def _retry(table: str) -> str:
    return f"""
        UPDATE {table} SET failures = :failures, due_at = clock_timestamp() + :due, {_UNLEASED}, status = {_UNSTARTED},
            failed_attempts = {_reported("clock_timestamp() + CAST(:delay AS interval)")},
            error_code = :code, error_message = :message, updated = clock_timestamp()
        WHERE {_FENCE}
    """


def _fail(table: str) -> str:
    """Without a token: a row whose last attempt ended without a word, which nobody holds."""
    return f"""
        UPDATE {table} SET status = 'FAILED', observed_generation = generation, failures = :failures, {_UNLEASED},
            failed_attempts = {_reported("NULL")}, error_code = :code, error_message = :message, {_ENDED}
        WHERE id = :id AND generation = :generation AND status IN {OPEN_SQL} AND (lease_token = :token
            OR (CAST(:token AS text) IS NULL AND attempt >= :attempt AND {_FREE}))
        RETURNING worker
    """


def _activate(table: str) -> str:
    return f"""
        UPDATE {table} SET status = 'ACTIVE', observed_generation = generation, {_UNLEASED},
            error_code = NULL, error_message = NULL, {_ENDED}
        WHERE {_FENCE} RETURNING id
    """


def _raise(table: str) -> str:
    return f"""
        UPDATE {table} SET status = :status, generation = generation + 1, dispatch = 1, attempt = 0, failures = 0,
            due_at = clock_timestamp() + :first_due, traceparent = :traceparent, {_UNLEASED}, error_code = NULL,
            error_message = NULL, worker = NULL, failed_attempts = '[]', started_at = NULL, settled_at = NULL,
            updated = clock_timestamp()
        WHERE id = :id AND status = ANY(:among) AND generation = coalesce(CAST(:generation AS int), generation)
        RETURNING {ROW_COLUMNS}
    """
