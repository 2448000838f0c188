"""Redrive: the guarantee behind every best-effort publish. Jobs that count as lost are published again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from opentelemetry.trace import SpanKind

from aperag_common import subjects
from aperag_common.jobs.kind import kinds
from aperag_common.telemetry import propagate
from aperag_work.database import Statement, driver
from aperag_work.policy import LEASE_SLACK
from aperag_work.rows import OPEN, Dispatch, JobRow, columns_of, locked
from aperag_work.waiting import RELEASED, followers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.database import Connection, Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.policy import WorkPolicy

log = structlog.get_logger(__name__)

SOURCE = "reconciler"
BATCH = 200

# ``dispatch`` has been raised when the power of two is taken: the first redrive waits twice the first period.
_TAKE = Statement(
    "take lost jobs",
    f"""
    WITH lost AS (
        SELECT id FROM job WHERE {OPEN} AND due_at <= clock_timestamp() AND dispatch > 0
            AND kind = ANY($4::text[])
        ORDER BY due_at LIMIT $1::int FOR UPDATE SKIP LOCKED
    )
    UPDATE job j SET dispatch = j.dispatch + 1, due_at = clock_timestamp()
        + least($2::interval * power(2, least(j.dispatch, 16)), $3::interval)
    FROM lost WHERE j.id = lost.id RETURNING {columns_of("j")}
    """,
)

# No policy leases for longer than $2 or sets a due time later than $5: such values were written before the database's
# clock was set back, and nobody would look at their jobs until it has caught up. A lease is not taken away but made as
# long as a new one: whoever lives renews it before it ends.
_TOO_FAR = """due_at < 'infinity' AND due_at > clock_timestamp() + $2::interval + $3::interval
    AND (lease_until > clock_timestamp() + $2::interval + $3::interval OR due_at > clock_timestamp() + coalesce(
        (SELECT s.latest FROM unnest($6::text[], $7::interval[]) AS s(kind, latest) WHERE s.kind = job.kind),
        $5::interval))"""
_PULL_IN = Statement(
    "pull in due times",
    f"""
    WITH far AS (SELECT id FROM job WHERE {OPEN} AND {_TOO_FAR} LIMIT $1::int FOR UPDATE SKIP LOCKED)
    UPDATE job j SET lease_until = least(j.lease_until, clock_timestamp() + $2::interval),
        due_at = clock_timestamp() + CASE WHEN j.lease_until IS NULL THEN $4::interval
            ELSE $2::interval + $3::interval END
    FROM far WHERE j.id = far.id RETURNING j.id
    """,
)

# A job whose prerequisite is settled must not wait: whoever settled it publishes it in the same transaction, so this
# finds something only after a change of this code or a hand in the database.
_RELEASE_STUCK = Statement(
    "publish jobs that wait for nothing",
    f"""
    UPDATE job j SET {RELEASED.format(first_due="$4")} WHERE j.id IN (
        SELECT w.id FROM job w JOIN job p ON p.subject_id = w.subject_id AND p.kind = $2::text
        WHERE w.kind = ANY($3::text[]) AND w.{OPEN} AND w.status = 'PENDING' AND w.due_at = 'infinity'
            AND p.status = 'ACTIVE'
        LIMIT $1::int FOR UPDATE OF w SKIP LOCKED)
    RETURNING {columns_of("j")}
    """,
)

# What a wiped stream held is known: commands of jobs that are not worked on and do not wait for their next try.
_LOST_WITH_STREAM = Statement(
    "mark jobs of a wiped stream as due",
    f"""
    UPDATE job SET due_at = clock_timestamp()
    WHERE {
        locked(f'''{OPEN} AND dispatch > 0 AND lease_token IS NULL AND due_at < 'infinity'
        AND kind = ANY($1::text[])
        AND coalesce((failed_attempts -> -1 ->> 'next_try_at')::timestamptz, '-infinity') <= clock_timestamp()''')
    }
    RETURNING id
    """,
)


async def mark_wiped(conn: AsyncConnection | Connection, stream: str) -> int:
    """In the caller's transaction: what the lost store of ``stream`` held is due now; how many jobs."""
    lost = [k.name for k in kinds() if any(subjects.stream_of(w.subject) == stream for w in k.works)]
    return await _LOST_WITH_STREAM.count(await driver(conn), lost) if lost else 0


@dataclass(frozen=True, slots=True)
class Redrive:
    """Takes lost jobs in one short transaction, commits, then publishes: a crash in between costs one period."""

    database: Database
    dispatcher: Dispatcher
    policy: WorkPolicy

    async def run(self) -> int:
        """Everything, on a timer; how many commands were published again."""
        await self.pull_in()
        stuck = await self.release_stuck()
        await self._send(stuck)
        return len(stuck) + await self.run_due()

    async def run_due(self) -> int:
        """What is due, whenever somebody asks: it costs what it finds."""
        total = 0
        while True:
            lost = await self.take(limit=BATCH)
            await self._send(lost)
            total += len(lost)
            if len(lost) < BATCH:
                break
        if total:
            log.info("jobs.redriven", jobs=total)
        return total

    async def take(self, *, limit: int) -> list[JobRow]:
        """Lost jobs, with their next dispatch; their commands are to be published now.

        Kinds that this version does not know are another version's, which runs beside it or did before.
        """
        known = [kind.name for kind in kinds()]
        values = (limit, self.policy.first_due, self.policy.max_due, known)
        return [JobRow(*row) for row in await self.database.durable.fetch(_TAKE, *values)]

    async def release_stuck(self) -> list[JobRow]:
        """Jobs that wait for one that is done; their commands are to be published now."""
        stuck: list[JobRow] = []
        for before in sorted({name for kind in kinds() for name in kind.after}):
            values = (BATCH, before, followers(before), self.policy.first_due)
            stuck += [JobRow(*row) for row in await self.database.durable.fetch(_RELEASE_STUCK, *values)]
        return stuck

    async def pull_in(self) -> int:
        """Make leases and due times that no policy can have set as long as those of today; how many jobs."""
        policy, schedules = self.policy, self.policy.latest_of_schedules()
        values = (
            policy.lease,
            LEASE_SLACK,
            policy.first_due,
            policy.latest_due,
            list(schedules),
            list(schedules.values()),
        )
        total, pulled = 0, BATCH
        while pulled == BATCH:
            pulled = len(await self.database.durable.fetch(_PULL_IN, BATCH, *values))
            total += pulled
        if total:
            log.warning("clock.set_back", jobs=total)
        return total

    async def _send(self, lost: Sequence[JobRow]) -> None:
        """In a trace of its own for each, linked to the original request: one over hours could not be read."""
        commands = []
        for row in lost:
            try:
                subject = row.work.subject
            except ValueError:
                log.warning("job.undone", job_id=row.id, kind=row.kind, wanted=row.wanted)  # nobody does this
                continue
            link = propagate.link_from(row.traceparent)
            span = propagate.tracer().start_span(
                f"redrive {subject}",
                context=propagate.no_context(),
                kind=SpanKind.INTERNAL,
                links=[link] if link else None,
                attributes={"aperag.job": row.id, "aperag.dispatch": row.dispatch},
            )
            span.end()
            commands.append(Dispatch(replace(row, traceparent=propagate.traceparent_of(span)), SOURCE))
        await self.dispatcher.send(commands)
