"""How a step's failure is recorded: tried again, or FAILED with its dead letter, in one fenced transaction."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak, Settlement
from aperag_common.db.models.base import OPEN_SQL
from aperag_common.db.models.document_step import StepKind
from aperag_common.db.models.workflow import Outcome
from aperag_common.events import facts
from aperag_common.work import dead_letters
from aperag_common.work.change import Change
from aperag_common.work.derive import is_open
from aperag_common.work.dispatch import DELETING, STEP_COLUMNS, StepRow
from aperag_common.work.documents import Closing, Conclusion, Draft, conclude, lock
from aperag_common.work.finish import step_details
from aperag_common.work.policy import LEASE_SLACK, NAK_UP_TO

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.bus.delivery import Delivery
    from aperag_common.events.commands import StepCommand
    from aperag_common.metrics import Metrics
    from aperag_common.work.claims import Claims, StepClaim

__all__ = ["is_open", "record", "record_lost", "record_poison"]

log = structlog.get_logger(__name__)

UNRECORDED_DELAY = timedelta(seconds=5)
LONGEST_MESSAGE = 4000
SUPERSEDED = Ack(outcome="superseded")
"""The work was in vain, and may have failed for that very reason: a delete takes a document's bytes from under it."""
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")

# What an operator reads later: the row's own error is that of the last attempt only.
_NOTE_ATTEMPT = """failed_attempts = failed_attempts || jsonb_build_object('attempt', attempt, 'worker', worker,
            'ended', clock_timestamp(), 'code', CAST(:code AS text), 'message', CAST(:message AS text),
            'next_try_at', {next_try_at})"""

_RETRY = text(
    f"""
    UPDATE document_step SET failures = :failures, due_at = clock_timestamp() + :due,
        {_NOTE_ATTEMPT.format(next_try_at="clock_timestamp() + CAST(:delay AS interval)")},
        status = CASE WHEN status = 'CREATING' THEN 'PENDING' ELSE 'DELETING' END,
        lease_token = NULL, lease_owner = NULL, lease_until = NULL,
        error_code = :code, error_message = :message, updated = clock_timestamp()
    WHERE id = :id AND generation = :generation AND lease_token = :token
    """
)

_FAIL = text(
    f"""
    UPDATE document_step SET status = 'FAILED', observed_generation = generation, failures = :failures,
        {_NOTE_ATTEMPT.format(next_try_at="NULL")},
        lease_token = NULL, lease_owner = NULL, lease_until = NULL, due_at = 'infinity',
        error_code = :code, error_message = :message, settled_at = clock_timestamp(), updated = clock_timestamp()
    WHERE id = :id AND generation = :generation AND status IN {OPEN_SQL}
        AND (lease_token = :token OR (CAST(:token AS text) IS NULL AND attempt >= :attempt
            AND (lease_until IS NULL OR lease_until <= clock_timestamp())))
    RETURNING worker
    """
)

_FAIL_WAITING = text(
    f"""
    UPDATE document_step SET status = 'FAILED', observed_generation = generation, due_at = 'infinity',
        error_code = :code, error_message = :message, settled_at = clock_timestamp(), updated = clock_timestamp()
    WHERE document_id = :document AND kind <> 'parse' AND status = 'PENDING' AND due_at = 'infinity'
    RETURNING {STEP_COLUMNS}
    """
)


async def record(claims: Claims, claim: StepClaim, err: Exception) -> Settlement:
    """Write the failure and say what becomes of the message; if it cannot be written, the lease will run out."""
    failure = as_failure(err)
    count = claim.taken.failures + 1
    policy = claims.policy_of(claim.row.kind, removing=claim.row.status in DELETING)
    terminal = isinstance(failure, errors.Terminal) or count >= policy.max_failures
    try:
        if terminal:
            settlement = await _fail(
                claims, claim.row, claim.taken.token, failure, failures=count, attempt=claim.taken.attempt
            )
        else:
            settlement = await _retry(claims, claim, failure, count, policy.retry_delay(count))
    except (SQLAlchemyError, OSError) as unrecorded:
        log.warning("failure.unrecorded", step_id=claim.row.id, error=repr(unrecorded))
        settlement = Nak(UNRECORDED_DELAY, outcome="error")
    if settlement == SUPERSEDED:
        log.info("step.failed_in_vain", step_id=claim.row.id, error=repr(err))
    elif failure is not err:
        log.error("step.failed_unexpectedly", step_id=claim.row.id, exc_info=err)
    return settlement


def as_failure(err: Exception) -> errors.ApeRAGError:
    """An exception nobody foresaw is taken as passing, but its text stays in the log: it may hold anything."""
    if isinstance(err, errors.ApeRAGError):
        err.message = storable(err.message)
        return err
    if isinstance(err, SQLAlchemyError | OSError):
        return errors.UpstreamUnavailable(f"{type(err).__name__} while working on the step")
    return errors.Retryable(f"unexpected {type(err).__name__}; the service's log has the details", code="UNEXPECTED")


def storable(message: str) -> str:
    """A reason as PostgreSQL can keep it: a library's text may quote any byte of a broken document."""
    return _UNSTORABLE.sub("\ufffd", message)[:LONGEST_MESSAGE]


async def record_lost(claims: Claims, command: StepCommand) -> None:
    """The step ended too many workers without a word: give it up (``attempt`` counts what nobody reported)."""
    async with claims.engine.connect() as conn:
        query = text(f"SELECT {STEP_COLUMNS}, attempt, failures FROM document_step WHERE id = :id")
        found = (await conn.execute(query, {"id": command.data.row_id})).one_or_none()
    if found is None or found.generation != command.data.generation:
        return
    values = dict(found._mapping)
    row = StepRow(**{name: values[name] for name in STEP_COLUMNS.split(", ")})
    failure = errors.WorkerLost(
        f"{values['attempt']} workers ended while working on this step; the document may be too large or harmful"
    )
    await _fail(claims, row, None, failure, failures=values["failures"], attempt=values["attempt"])


async def record_poison(engine: AsyncEngine, metrics: Metrics, delivery: Delivery, err: Exception) -> None:
    """A message that is no command at all: keep it where a person can look at it."""
    invalid = errors.InvalidMessage(storable(str(err)))
    async with engine.begin() as conn:
        await dead_letters.add(conn, dead_letters.letter_of(invalid, delivery=delivery, attempt=delivery.number))
    metrics.dead_letters.labels(errors.InvalidMessage.code).inc()
    log.error("message.poison", consumer=delivery.consumer, subject=delivery.subject, error=str(err)[:500])


async def _retry(
    claims: Claims, claim: StepClaim, failure: errors.ApeRAGError, count: int, delay: timedelta
) -> Settlement:
    if isinstance(failure, errors.Retryable) and failure.retry_after is not None:
        # What is due later than any policy says counts as set by a clock that was wrong.
        delay = min(failure.retry_after, claims.policy.max_due)
    nak = delay <= NAK_UP_TO
    async with claims.engine.begin() as conn:
        written = await conn.execute(
            _RETRY,
            {
                "id": claim.row.id,
                "generation": claim.row.generation,
                "token": claim.taken.token,
                "failures": count,
                # A nak brings the message back by itself; the row is overdue only when that did not happen.
                "due": delay + LEASE_SLACK if nak else delay,
                "delay": delay,
                "code": failure.error_code,
                "message": failure.message,
            },
        )
    if written.rowcount == 0:
        claims.metrics.fence_rejects.labels(claim.row.kind).inc()
        return SUPERSEDED
    log.warning("step.retry", step_id=claim.row.id, failures=count, code=failure.error_code, error=failure.message)
    return Nak(delay, outcome="retry") if nak else Ack(outcome="retry_later")


async def _fail(
    claims: Claims, row: StepRow, token: str | None, failure: errors.ApeRAGError, *, failures: int, attempt: int
) -> Settlement:
    async with claims.engine.begin() as conn:
        change = await _fail_in(conn, claims, row, token, failure, failures=failures, attempt=attempt)
    if change is None:
        claims.metrics.fence_rejects.labels(row.kind).inc()
        return SUPERSEDED
    claims.metrics.dead_letters.labels(failure.error_code).inc()
    claims.courier.deliver(change)
    log.warning("step.failed", step_id=row.id, code=failure.error_code, error=failure.message)
    return Ack(outcome="failed")


async def _fail_in(
    conn: AsyncConnection,
    claims: Claims,
    row: StepRow,
    token: str | None,
    failure: errors.ApeRAGError,
    *,
    failures: int,
    attempt: int,
) -> Change | None:
    document = await lock(conn, row.document_id)
    reason = {"code": failure.error_code, "message": failure.message}
    fence = {"id": row.id, "generation": row.generation, "token": token, "failures": failures, "attempt": attempt}
    failing = None if document is None else (await conn.execute(_FAIL, {**fence, **reason})).one_or_none()
    if document is None or failing is None:
        return None
    waiting: list[StepRow] = []
    if row.kind == StepKind.PARSE:
        # Builds that wait for this parse can never start: they end with its reason instead of waiting for ever.
        found = await conn.execute(_FAIL_WAITING, {"document": row.document_id, **reason})
        waiting = [StepRow(**step._mapping) for step in found]
    failed = [row, *waiting]
    closings = [Closing(step.workflow_id, step.kind, Outcome.FAILED) for step in failed]
    # Of a removal the dead letter and the task's end tell: nothing was to be parsed or built.
    drafts = [_failed(step, failure) for step in failed if step.status not in DELETING]
    [concluded] = await conclude(conn, Conclusion(document, closings, drafts), source=claims.source)
    letter = dead_letters.letter_of(failure, attempt=attempt, failures=failures, worker=failing.worker, **_about(row))
    told = await dead_letters.add_and_tell(conn, letter, source=claims.source)
    return Change((), (*concluded.facts, told), row.document_id, row.workflow_id, settled=True)


def _failed(row: StepRow, failure: errors.ApeRAGError) -> Draft:
    fact = facts.DocumentParseFailed if row.kind == StepKind.PARSE else facts.IndexFailed
    reason = {"error_code": failure.error_code, "error_message": failure.message}
    return Draft(fact, {**step_details(row), **reason})


def _about(row: StepRow) -> dict[str, Any]:
    """Columns of its dead letter."""
    return {
        "owner": row.owner,
        "row_id": row.id,
        "document_id": row.document_id,
        "collection_id": row.collection_id,
        "workflow_id": row.workflow_id,
        "kind": row.kind,
        "generation": row.generation,
    }
