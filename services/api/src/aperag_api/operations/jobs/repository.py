"""SQL of jobs that are under way or were given up.

The table is read through its partial indexes of open and of failed jobs, never through the jobs that ended well, of which
there are as many as there are documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_api.operations.jobs.decide import Doing, reached
from aperag_api.operations.jobs.schemas import JobState
from aperag_common.db.models.base import OPEN_SQL
from aperag_work.backlog import STATE

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page
    from aperag_api.operations.jobs.decide import Selection

_OPEN = f"SELECT *, {STATE} AS state FROM job WHERE status IN {OPEN_SQL}"
_FAILED = "SELECT *, 'failed' AS state FROM job WHERE status = 'FAILED'"
_FILTERS = {
    "owner": "owner = :owner",
    "kinds": "kind = ANY(:kinds)",
    "collection_id": "collection_id = :collection_id",
    "code": "error_code = :code",
}
_COLUMNS = """
    j.id, j.kind, j.state, j.owner, j.collection_id, j.subject_id, d.id AS document_id, d.name,
    j.workflow_id AS task_id, j.wanted = 'absent' AS removes, j.attempt, j.failures, j.worker, j.created,
    j.updated AS since, j.error_code, j.error_message,
    CASE WHEN j.state = 'retrying' AND j.due_at < 'infinity' THEN j.due_at END AS next_try_at
"""


async def list_page(conn: AsyncConnection, selection: Selection, *, page: Page) -> tuple[list[dict[str, Any]], int]:
    """What changed last comes first; and the number of all."""
    jobs, values = _jobs(selection)
    total = await conn.execute(text(f"SELECT count(*) FROM {jobs}"), values)
    query = f"""
        SELECT {_COLUMNS} FROM (SELECT * FROM {jobs} ORDER BY j.updated DESC, j.id LIMIT :limit OFFSET :offset) j
        LEFT JOIN document d ON d.id = j.subject_id ORDER BY j.updated DESC, j.id
    """
    rows = await conn.execute(text(query), {**values, **page.bounds})
    return [dict(row) for row in rows.mappings()], int(total.scalar_one())


async def count(conn: AsyncConnection, selection: Selection, doing: Doing) -> tuple[int, int]:
    """Jobs, and what they are about: as many tasks will come of a retry, or end with a cancel."""
    jobs, values = _jobs(selection, doing)
    row = (await conn.execute(text(f"SELECT count(*), count(DISTINCT subject_id) FROM {jobs}"), values)).one()
    return int(row[0]), int(row[1])


async def following(
    conn: AsyncConnection, selection: Selection, doing: Doing, after: str, *, limit: int
) -> list[tuple[str, str]]:
    """(subject, job) of what stands behind the subject ``after``: in their order each is met once, though some may fail
    again meanwhile, and the jobs of one document come together.
    """
    jobs, values = _jobs(selection, doing)
    query = f"SELECT subject_id, id FROM {jobs} WHERE subject_id > :after ORDER BY subject_id, id LIMIT :limit"
    rows = await conn.execute(text(query), {**values, "after": after, "limit": limit})
    return [(row.subject_id, row.id) for row in rows]


def _jobs(selection: Selection, doing: Doing | None = None) -> tuple[str, dict[str, Any]]:
    """What stands behind FROM, called ``j``. Conditions are ours, values are bound."""
    values = {name: value for name in _FILTERS if (value := getattr(selection, name)) is not None}
    where = [_FILTERS[name] for name in values]
    if doing is not None:
        where.append("kind = ANY(:reached)")
        values["reached"] = list(reached(doing))
    if doing is Doing.CANCEL:
        where.append("wanted = 'present' AND workflow_id IS NOT NULL")  # a delete cannot be taken back
    read_open = doing is not Doing.RETRY and selection.state is not JobState.FAILED
    read_failed = doing is not Doing.CANCEL and selection.state in {None, JobState.FAILED}
    chosen = [*([_OPEN] * read_open), *([_FAILED] * read_failed)]
    source = " UNION ALL ".join(" AND ".join([part, *where]) for part in chosen)
    if selection.state is None or selection.state is JobState.FAILED:
        return f"({source}) j", values
    return f"(SELECT * FROM ({source}) o WHERE state = :state) j", {**values, "state": selection.state.value}
