"""What a failure is, in the words of the error tree, and as PostgreSQL can keep it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog

from aperag_common import errors
from aperag_work import dead_letters
from aperag_work.database import FAILURES, unavailable

if TYPE_CHECKING:
    from aperag_common.bus.delivery import Delivery
    from aperag_common.metrics import Metrics
    from aperag_work.database import Database

log = structlog.get_logger(__name__)

LONGEST_MESSAGE = 4000
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def as_failure(err: Exception) -> errors.ApeRAGError:
    """An exception nobody foresaw is taken as passing, but its text stays in the log: it may hold anything."""
    if isinstance(err, errors.ApeRAGError):
        err.message = storable(err.message)
        return err
    if isinstance(err, FAILURES):
        return unavailable(err)
    return errors.Retryable(f"unexpected {type(err).__name__}; the service's log has the details", code="UNEXPECTED")


def storable(message: str) -> str:
    """A reason as PostgreSQL can keep it: a library's text may quote any byte of a broken document."""
    return _UNSTORABLE.sub("\ufffd", message)[:LONGEST_MESSAGE]


async def record_poison(database: Database, metrics: Metrics, delivery: Delivery, err: Exception) -> None:
    """A message that is no command of any job: keep it where a person can look at it."""
    invalid = errors.InvalidMessage(storable(str(err)))
    async with database.durable.transaction() as conn:
        await dead_letters.add(conn, dead_letters.letter_of(invalid, delivery=delivery, attempt=delivery.number))
    metrics.dead_letters.labels(errors.InvalidMessage.code).inc()
    log.error("message.poison", consumer=delivery.consumer, subject=delivery.subject, error=str(err)[:500])
