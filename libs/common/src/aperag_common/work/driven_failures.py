"""How a driven row's failure is recorded: tried again, or FAILED with its dead letter, in one fenced transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak, Settlement
from aperag_common.work import dead_letters
from aperag_common.work.change import Change
from aperag_common.work.driven_sql import statements
from aperag_common.work.failures import SUPERSEDED, UNRECORDED_DELAY, as_failure
from aperag_common.work.policy import LEASE_SLACK, NAK_UP_TO

if TYPE_CHECKING:
    from datetime import timedelta

    from aperag_common.work.driven import DrivenClaim, DrivenRows
    from aperag_common.work.driven_tables import DrivenRow, DrivenTable

log = structlog.get_logger(__name__)


async def record(claim: DrivenClaim, err: Exception) -> Settlement:
    """Write the failure and say what becomes of the message; if it cannot be written, the lease will run out."""
    failure = as_failure(err)
    failures = claim.failures + 1
    policy = claim.rows.policy.of_step(claim.table.step)
    try:
        if isinstance(failure, errors.Terminal) or failures >= policy.max_failures:
            values = {**claim.fence, "failures": failures, "attempt": claim.attempt}
            settlement = await _fail(claim.rows, claim.table, claim.row, failure, values)
        else:
            settlement = await _retry(claim, failure, failures, _delay(claim, failure, failures))
    except (SQLAlchemyError, OSError) as unrecorded:
        log.warning("failure.unrecorded", table=claim.table.name, row_id=claim.row.id, error=repr(unrecorded))
        settlement = Nak(UNRECORDED_DELAY, outcome="error")
    if settlement == SUPERSEDED:
        log.info("row.failed_in_vain", table=claim.table.name, row_id=claim.row.id, error=repr(err))
    elif failure is not err:
        log.error("row.failed_unexpectedly", table=claim.table.name, row_id=claim.row.id, exc_info=err)
    return settlement


async def record_lost(rows: DrivenRows, table: DrivenTable, row: DrivenRow, attempt: int, failures: int) -> Settlement:
    """Too many workers ended without a word while they held it; ``attempt`` counts what nobody reported."""
    message = f"{attempt} workers ended while working on this; see the logs of the service that does it"
    values = {"id": row.id, "generation": row.generation, "token": None, "failures": failures, "attempt": attempt}
    return await _fail(rows, table, row, errors.WorkerLost(message), values)


def _delay(claim: DrivenClaim, failure: errors.ApeRAGError, failures: int) -> timedelta:
    policy = claim.rows.policy.of_step(claim.table.step)
    asked = failure.retry_after if isinstance(failure, errors.Retryable) else None
    # What is due later than any policy says counts as set by a clock that was wrong.
    return policy.retry_delay(failures) if asked is None else min(asked, policy.max_due)


async def _retry(claim: DrivenClaim, failure: errors.ApeRAGError, failures: int, delay: timedelta) -> Settlement:
    nak = delay <= NAK_UP_TO
    parameters = {
        **claim.fence,
        "failures": failures,
        # A nak brings the message back by itself; the row is overdue only when that did not happen.
        "due": delay + LEASE_SLACK if nak else delay,
        "delay": delay,
        "code": failure.error_code,
        "message": failure.message,
    }
    async with claim.rows.engine.begin() as conn:
        written = await conn.execute(statements(claim.table.name).retry, parameters)
    if written.rowcount == 0:
        return claim.superseded().settlement
    log.warning("row.retry", table=claim.table.name, row_id=claim.row.id, failures=failures, error=failure.message)
    return Nak(delay, outcome="retry") if nak else Ack(outcome="retry_later")


async def _fail(
    rows: DrivenRows, table: DrivenTable, row: DrivenRow, failure: errors.ApeRAGError, values: dict[str, Any]
) -> Settlement:
    reason = {"code": failure.error_code, "message": failure.message}
    async with rows.engine.begin() as conn:
        failed = (await conn.execute(statements(table.name).fail, {**values, **reason})).one_or_none()
        if failed is not None:
            letter = dead_letters.letter_of(
                failure,
                attempt=values["attempt"],
                failures=values["failures"],
                worker=failed.worker,
                owner=row.owner,
                row_id=row.id,
                collection_id=row.id if table.of_collection else None,
                kind=table.name,
                generation=row.generation,
            )
            told = await dead_letters.add_and_tell(conn, letter, source=rows.source)
    if failed is None:
        rows.metrics.fence_rejects.labels(table.name).inc()
        return SUPERSEDED
    rows.metrics.dead_letters.labels(failure.error_code).inc()
    rows.courier.deliver(Change((), (told,)))
    log.warning("row.failed", table=table.name, row_id=row.id, code=failure.error_code, error=failure.message)
    return Ack(outcome="failed")
