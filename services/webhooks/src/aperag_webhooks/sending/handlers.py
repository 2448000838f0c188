"""The job ``webhook.deliver``: one attempt, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from aperag_common import errors
from aperag_common.db.models.webhook import DeliveryStatus, DisabledReason
from aperag_common.events.fact import WebhookData
from aperag_common.events.webhooks import WebhookDisabled
from aperag_webhooks.sending import repository
from aperag_webhooks.sending.decide import Verdict, judge
from aperag_webhooks.sending.repository import DeliveryRow, Settled
from aperag_work import outbox
from aperag_work.batching import Batcher
from aperag_work.change import Change
from aperag_work.completion import Completed, Completion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from aperag_webhooks.sending.decide import Attempt
    from aperag_webhooks.sending.sender import Sender
    from aperag_work.database import Connection
    from aperag_work.engine import Engine
    from aperag_work.job import Job
    from aperag_work.rows import JobRow

log = structlog.get_logger(__name__)


class Deliver:
    """A process that dies after the request and before its end is written sends it again, under the same id."""

    def __init__(self, engine: Engine, sender: Sender, *, disable_after: timedelta, source: str) -> None:
        self._engine = engine
        self._database = engine.database
        self._sender = sender
        self._disable_after = disable_after
        self._source = source
        self._loading: Batcher[str, DeliveryRow | None] = Batcher(self._load)
        self._recording: Batcher[tuple[str, Attempt], bool] = Batcher(self._record)

    async def run(self, job: Job) -> Completion:
        delivery = await self._loading.submit(job.row.subject_id)
        if delivery is None:
            return Completion(outcome="gone")
        if delivery.disabled:
            return _ended(delivery, DeliveryStatus.FAILED, None, outcome="disabled")
        attempt = await self._sender.send(delivery, job.attempt)
        too_long = not attempt.succeeded and await self._recording.submit((delivery.id, attempt))
        verdict = judge(attempt, last=self._is_last(job), failing_too_long=too_long)
        _log(delivery, attempt, verdict)
        match verdict:
            case Verdict.DELIVERED:
                return _ended(delivery, DeliveryStatus.DELIVERED, attempt, outcome="delivered")
            case Verdict.RETRY:
                raise errors.Retryable(attempt.message or "", code=attempt.code)
            case Verdict.DISABLE_GONE:
                await self._disable(delivery.endpoint_id, DisabledReason.GONE)
            case Verdict.DISABLE_FAILING:
                await self._disable(delivery.endpoint_id, DisabledReason.FAILING)
            case Verdict.GIVE_UP:
                pass
        return _ended(delivery, DeliveryStatus.FAILED, None, outcome="given_up")

    async def lock(self, conn: Connection, jobs: Sequence[JobRow]) -> None:
        """Before the jobs, as whoever sends deliveries again or deletes their endpoint."""
        await repository.lock(conn, [job.subject_id for job in jobs])

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        """A delivery whose endpoint was deleted has left nothing to be written."""
        await repository.settle(conn, [it.result for it in completed if it.result is not None])

    def _is_last(self, job: Job) -> bool:
        policy = self._engine.policy.of_work(job.row.work.retry)
        return job.lease.failures + 1 >= policy.max_failures

    async def _disable(self, endpoint_id: str, reason: DisabledReason) -> None:
        """Once, with the fact that says so; deliveries that are pending end at their next attempts."""
        async with self._database.durable.transaction() as conn:
            disabled = await repository.disable(conn, endpoint_id, reason)
            if disabled is None:
                return
            since = disabled.failing_since
            data = WebhookData(webhook_id=endpoint_id, reason=reason.value, failing_since=since)
            fact = WebhookDisabled.of(data, source=self._source, subject=endpoint_id, owner=disabled.owner)
            events = await outbox.record(conn, fact)
        log.warning("webhook.disabled", webhook_id=endpoint_id, owner=disabled.owner, reason=reason.value)
        self._engine.dispatcher.deliver(Change((), events))

    async def _load(self, ids: Sequence[str]) -> list[DeliveryRow | None]:
        async with self._database.relaxed.acquire() as conn:
            return await repository.load(conn, ids)

    async def _record(self, failed: Sequence[tuple[str, Attempt]]) -> list[bool]:
        async with self._database.relaxed.transaction() as conn:
            return await repository.record(conn, failed, disable_after=self._disable_after)


def _ended(delivery: DeliveryRow, status: DeliveryStatus, attempt: Attempt | None, *, outcome: str) -> Completion:
    """``attempt`` is what is not recorded yet."""
    return Completion(Settled(delivery.id, status, attempt), outcome=outcome)


def _log(delivery: DeliveryRow, attempt: Attempt, verdict: Verdict) -> None:
    """Without the address: people put credentials into those."""
    log.info(
        "webhook.delivered" if attempt.succeeded else "webhook.failed",
        delivery_id=delivery.id,
        webhook_id=delivery.endpoint_id,
        verdict=verdict.value,
        status=attempt.status,
        code=attempt.code,
        seconds=attempt.seconds,
    )
