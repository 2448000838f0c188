"""Listing jobs, and retrying or cancelling all that match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_api.kernel.paging import Page, Paged
from aperag_api.kernel.reading import reading
from aperag_api.operations.jobs import repository
from aperag_api.operations.jobs.decide import Doing, chosen, parts, whole
from aperag_api.operations.jobs.schemas import JobOut, JobsChanged
from aperag_common.db.models import Lane
from aperag_common.jobs.kind import kind_of
from aperag_work.cancel import announce, cancel_jobs
from aperag_work.opening import Admission
from aperag_work.requeue import retry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.operations.jobs.decide import Selection
    from aperag_api.operations.jobs.schemas import JobSelection
    from aperag_common.settings import WorkSettings
    from aperag_work.dispatcher import Dispatcher

MOST = 500
"""Jobs that one request changes: a client asks again for the rest, instead of waiting for many minutes."""
BATCH = 100
"""Jobs changed in one transaction: enough to be quick, few enough not to hold locks for long."""


@dataclass(frozen=True, slots=True)
class JobService:
    """``interactive``: a retry of more jobs than this is bulk work."""

    engine: AsyncEngine
    dispatcher: Dispatcher
    work: WorkSettings
    interactive: int

    async def list(self, selection: Selection, *, page: Page) -> Paged[JobOut]:
        async with reading(self.engine) as conn:
            rows, total = await repository.list_page(conn, selection, page=page)
        return Paged[JobOut].of([JobOut(**_named(row)) for row in rows], total=total, page=page)

    async def change(self, doing: Doing, body: JobSelection, *, owner: str | None) -> JobsChanged:
        """Of one ``owner``, or of everybody for None. What a crash leaves is done by asking again."""
        selection = chosen(body, doing, owner)
        async with reading(self.engine) as conn:
            if body.dry_run:
                jobs, tasks = await repository.count(conn, selection, doing)
                return JobsChanged(dry_run=True, jobs=jobs, tasks=tasks)
            found = await repository.following(conn, selection, doing, body.after or "", limit=MOST)
        meant, following = whole(found, MOST)
        jobs = tasks = 0
        for part in parts(meant, BATCH):
            done = await (self._retry(part, len(meant)) if doing is Doing.RETRY else self._cancel(part))
            jobs, tasks = jobs + done[0], tasks + done[1]
        return JobsChanged(dry_run=False, jobs=jobs, tasks=tasks, next=following)

    async def _retry(self, job_ids: Sequence[str], among: int) -> tuple[int, int]:
        lane = Lane.INTERACTIVE if among <= self.interactive else Lane.BULK
        admission = Admission(lane, self.work.in_flight_per_owner, self.work.first_due)
        async with self.engine.begin() as conn:
            retried = await retry(conn, job_ids, admission)
        self.dispatcher.deliver(*retried.changes)
        return retried.jobs, retried.tasks

    async def _cancel(self, job_ids: Sequence[str]) -> tuple[int, int]:
        async with self.engine.begin() as conn:
            cancelled = await cancel_jobs(conn, job_ids, first_due=self.work.first_due)
        await announce(self.dispatcher, cancelled)
        return len(job_ids), sum(len(it.tasks) for it in cancelled)


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A kind that this version does not know any more keeps the name that it has in the table."""
    try:
        return {**row, "kind": kind_of(row["kind"]).shown}
    except KeyError:
        return dict(row)
