"""Fair release: a bounded number of subjects per owner is in flight, the others wait in the table.

The queue in NATS stays short, so fairness between owners, priority and position are one mechanism.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.jobs.kind import kinds, kinds_in
from aperag_work.accepting import IN_FLIGHT, PUBLISHED
from aperag_work.database import Statement
from aperag_work.rows import OPEN, Dispatch, JobRow, columns_of

if TYPE_CHECKING:
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.policy import WorkPolicy

SOURCE = "reconciler"
RELEASE_LOCK = 7_241_906

UNRELEASED = f"{OPEN} AND dispatch = 0 AND due_at < 'infinity'"
"""As in the index that finds them; jobs that wait for another one stand at infinity and take no place."""

# Waiting for it is short, and a place that became free meanwhile is seen by the one who waited.
_LOCK = Statement("lock the release", "SELECT pg_advisory_xact_lock($1::bigint)")

_BY_DUE_TIME = f"{OPEN} AND dispatch < 0"
"""Of kinds that wait by their due time: what is not due yet is not read, however much it is."""


# The recursion visits each waiting owner once instead of each waiting job. Round robin: every owner's first waiting
# job, then every owner's second, … each up to the owner's free slots. A row that a request holds is left for the next
# run: waiting for it, with others already held, could deadlock.
def _release(name: str, waiting: str, *, taken: str, order: str, dispatch: str) -> Statement:
    """``taken`` counts an owner's places that are taken; ``order`` says which of an owner's ``waiting`` jobs goes first."""
    return Statement(
        name,
        f"""
        WITH RECURSIVE waiting_owner AS (
            (SELECT owner FROM job WHERE {waiting} ORDER BY owner LIMIT 1)
            UNION ALL
            SELECT (SELECT owner FROM job WHERE {waiting} AND owner > w.owner ORDER BY owner LIMIT 1)
            FROM waiting_owner w WHERE w.owner IS NOT NULL
        ), load AS (
            SELECT w.owner, ({taken.format(owner="w.owner", kinds="$3::text[]")}) AS taken
            FROM waiting_owner w WHERE w.owner IS NOT NULL
        ), next AS (
            SELECT found.id, row_number() OVER (PARTITION BY load.owner ORDER BY {order}) AS round
            FROM load CROSS JOIN LATERAL (
                SELECT id, lane, created, due_at FROM job
                WHERE owner = load.owner AND {waiting} AND due_at <= clock_timestamp() AND kind = ANY($3::text[])
                ORDER BY {order}
                LIMIT greatest($1::int - load.taken, 0)
            ) found
        ), held AS (
            SELECT job.id, next.round FROM next JOIN job ON job.id = next.id WHERE {waiting}
            FOR UPDATE OF job SKIP LOCKED
        ), released AS (
            UPDATE job j SET dispatch = {dispatch}, due_at = clock_timestamp() + $2::interval,
                updated = clock_timestamp()
            FROM held WHERE j.id = held.id
            RETURNING {columns_of("j")}, held.round
        )
        SELECT {columns_of("released")} FROM released ORDER BY round, owner
        """,
    )


_RELEASE = _release("release jobs", UNRELEASED, taken=IN_FLIGHT, order="lane DESC, created", dispatch="1")
_RELEASE_DUE = _release("release due jobs", _BY_DUE_TIME, taken=PUBLISHED, order="due_at", dispatch="-j.dispatch")


@dataclass(slots=True)
class FairRelease:
    """``run`` is safe on several reconcilers: an advisory lock lets one of them decide at a time."""

    database: Database
    dispatcher: Dispatcher
    policy: WorkPolicy
    in_flight_per_owner: int

    async def run(self) -> int:
        """Returns how many jobs were released."""
        released: list[JobRow] = []
        async with self.database.durable.transaction() as conn:
            await _LOCK.fetch(conn, RELEASE_LOCK)
            for group, by_due_time in sorted({(kind.group, kind.by_due_time) for kind in kinds() if kind.group}):
                statement = _RELEASE_DUE if by_due_time else _RELEASE
                rows = await statement.fetch(conn, self.in_flight_per_owner, self.policy.first_due, kinds_in(group))
                released += [JobRow(*row) for row in rows]
        await self.dispatcher.send([Dispatch(row, SOURCE) for row in released])
        return len(released)
