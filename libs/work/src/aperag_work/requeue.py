"""Requeueing dead letters and failed jobs: what was given up is wanted again, as a new generation and a new task.

Every function works inside the caller's transaction. Under its document's lock each one is judged anew, so of two
requeues that meet, and of a requeue that meets a rebuild, a delete or a cancel, exactly one has an effect.
Transitions made here are the gateway's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aperag_common.db.models.workflow import WorkflowKind
from aperag_common.jobs.declared import DOCUMENT
from aperag_common.jobs.kind import Wanted, kind_of, kinds
from aperag_work import changes, transitions
from aperag_work.change import Change
from aperag_work.database import Statement, columns, driver
from aperag_work.document_rows import lock_all
from aperag_work.opening import SOURCE, begin
from aperag_work.requeue_rules import FailedJob, Letter, RequeueAnswer, judge, reruns
from aperag_work.rows import Dispatch
from aperag_work.transitions import FAILED, Wish

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.jobs.steps import StepKind
    from aperag_work.database import Connection
    from aperag_work.document_rows import LockedDocument
    from aperag_work.opening import Admission

_DOCUMENTS = Statement(
    "read documents of dead letters",
    """
    SELECT DISTINCT j.subject_id FROM dead_letter l JOIN job j ON j.id = l.row_id
    WHERE l.id = ANY($1::uuid[]) AND l.redriven_at IS NULL AND j.kind = ANY($2::text[])
    """,
)

# Jobs of documents are held by their documents' locks.
_LOCK_JOBS = Statement(
    "lock jobs of dead letters",
    """
    SELECT j.id FROM job j WHERE j.kind <> ALL($2::text[]) AND j.id IN (
        SELECT row_id FROM dead_letter WHERE id = ANY($1::uuid[]) AND redriven_at IS NULL)
    ORDER BY j.id FOR UPDATE
    """,
)

_READ = Statement(
    "read dead letters",
    """
    SELECT l.id, j.kind, l.row_id, l.generation, l.redriven_at IS NOT NULL AS redriven,
        CASE WHEN j.kind = ANY($2::text[]) THEN j.subject_id END AS document_id, j.status,
        j.generation AS current_generation, coalesce(c.status = 'DELETED', false) AS collection_deleted,
        j.subject_id, j.owner, j.collection_id, j.wanted
    FROM dead_letter l LEFT JOIN job j ON j.id = l.row_id
    LEFT JOIN collection c ON c.id = j.collection_id AND j.wanted = 'present'
    WHERE l.id = ANY($1::uuid[])
    """,
)

_DOCUMENTS_OF_JOBS = Statement(
    "read documents of failed jobs",
    "SELECT DISTINCT subject_id FROM job WHERE id = ANY($1::text[]) AND kind = ANY($2::text[])",
)
_LOCK_OTHERS = Statement(
    "lock failed jobs",
    "SELECT id FROM job WHERE id = ANY($1::text[]) AND kind <> ALL($2::text[]) ORDER BY id FOR UPDATE",
)
# In the columns of a letter: one that a job would have, had it been kept.
_READ_JOBS = Statement(
    "read jobs to run again",
    """
    SELECT NULL::uuid AS id, j.kind, j.id AS row_id, j.generation, false AS redriven,
        CASE WHEN j.kind = ANY($2::text[]) THEN j.subject_id END AS document_id, j.status,
        j.generation AS current_generation, coalesce(c.status = 'DELETED', false) AS collection_deleted,
        j.subject_id, j.owner, j.collection_id, j.wanted
    FROM job j LEFT JOIN collection c ON c.id = j.collection_id AND j.wanted = 'present'
    WHERE j.id = ANY($1::text[]) ORDER BY j.id
    """,
)

_FAILED = Statement(
    "read failed jobs",
    """
    SELECT id, subject_id, kind, generation, attempt, error_code, error_message FROM job
    WHERE subject_id = ANY($1::text[]) AND kind = ANY($2::text[]) AND status = 'FAILED'
    """,
)

# Every letter of what is run again, also those that nobody selected. In the order in which letters are deleted.
_MARK = Statement(
    "mark dead letters as requeued",
    """
    WITH covered AS (
        SELECT * FROM unnest($1::text[], $2::int[], $3::text[]) AS c(row_id, generation, workflow_id)
    ), held AS (
        SELECT l.id, c.workflow_id FROM dead_letter l
        JOIN covered c ON c.row_id = l.row_id AND c.generation = l.generation
        WHERE l.redriven_at IS NULL ORDER BY l.created, l.id FOR UPDATE OF l
    )
    UPDATE dead_letter SET redriven_at = clock_timestamp(), redriven_workflow_id = held.workflow_id
    FROM held WHERE dead_letter.id = held.id RETURNING dead_letter.id
    """,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one letter; ``workflow_id`` is the task of its requeue, where it has one."""

    verdict: RequeueAnswer
    workflow_id: str | None = None


@dataclass(slots=True)
class Requeued:
    """``answers`` are by letter; ``changes`` are to be delivered after the commit."""

    answers: dict[uuid.UUID, Answer]
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Retried:
    """So many ``jobs`` are run again, also those that fell with one that was named, in so many ``tasks``; ``changes`` are to
    be delivered after the commit.
    """

    jobs: int
    tasks: int
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class _Covered:
    """A job's generation that is run again."""

    row_id: str
    generation: int
    workflow_id: str | None


def _document_kinds() -> list[str]:
    return [kind.name for kind in kinds() if kind.aggregate == DOCUMENT]


async def preview(conn: AsyncConnection | Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, RequeueAnswer]:
    """What a requeue of these letters would do now."""
    found = await _read(await driver(conn), ids)
    return {id_: judge(found[id_]) if id_ in found else RequeueAnswer.UNKNOWN for id_ in ids}


async def requeue(conn: AsyncConnection | Connection, ids: Sequence[uuid.UUID], admission: Admission) -> Requeued:
    """One task per document, over what of it was given up; every letter gets an answer."""
    raw = await driver(conn)
    asked = list(ids)
    documents = await lock_all(raw, [row[0] for row in await _DOCUMENTS.fetch(raw, asked, _document_kinds())])
    await _LOCK_JOBS.fetch(raw, asked, _document_kinds())
    found = await _read(raw, ids)
    verdicts = {id_: judge(found[id_]) if id_ in found else RequeueAnswer.UNKNOWN for id_ in ids}
    meant = [found[id_] for id_, verdict in verdicts.items() if verdict is RequeueAnswer.REDRIVEN]
    covered, changed = await _run_again(raw, meant, documents, admission)
    tasks = {(it.row_id, it.generation): it.workflow_id for it in covered}
    answers = {id_: Answer(verdict) for id_, verdict in verdicts.items()}
    for it in meant:
        key = (it.row_id or "", it.generation or 0)
        answers[it.id] = Answer(RequeueAnswer.REDRIVEN, tasks.get(key))
    return Requeued(answers, changed)


async def retry(conn: AsyncConnection | Connection, job_ids: Sequence[str], admission: Admission) -> Retried:
    """Run failed jobs again, with or without a letter; those that have moved on meanwhile are left alone."""
    raw, asked = await driver(conn), list(job_ids)
    documents = await lock_all(raw, [row[0] for row in await _DOCUMENTS_OF_JOBS.fetch(raw, asked, _document_kinds())])
    await _LOCK_OTHERS.fetch(raw, asked, _document_kinds())
    found = [Letter(*row) for row in await _READ_JOBS.fetch(raw, asked, _document_kinds())]
    meant = [it for it in found if judge(it) is RequeueAnswer.REDRIVEN]
    covered, changed = await _run_again(raw, meant, documents, admission)
    return Retried(len(covered), len({it.workflow_id or it.row_id for it in covered}), changed)


async def _run_again(
    conn: Connection, meant: Sequence[Letter], documents: Mapping[str, LockedDocument], admission: Admission
) -> tuple[list[_Covered], list[Change]]:
    """Marks every letter of what is run again."""
    changed: list[Change] = []
    covered = await _documents_again(conn, meant, documents, admission, changed)
    covered += await _jobs_again(conn, meant, admission.first_due, changed)
    await _MARK.fetch(conn, *columns(covered, "row_id", "generation", "workflow_id"))
    return covered, changed


async def _read(conn: Connection, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Letter]:
    return {row["id"]: Letter(*row) for row in await _READ.fetch(conn, list(ids), _document_kinds())}


async def _documents_again(
    conn: Connection,
    meant: Sequence[Letter],
    documents: Mapping[str, LockedDocument],
    admission: Admission,
    changed: list[Change],
) -> list[_Covered]:
    """Removals one by one, builds together where they are of one collection and of the same kinds."""
    letters = [letter for letter in meant if letter.document_id is not None]
    ids = [letter.document_id for letter in letters]
    failed = [FailedJob(*row) for row in await _FAILED.fetch(conn, ids, _document_kinds())]
    again = reruns(letters, failed)
    together: dict[tuple[str, tuple[StepKind, ...]], list[LockedDocument]] = defaultdict(list)
    for rerun in again:
        document = documents[rerun.document_id]
        if document.deleted:
            changed.append(await changes.remove_again(conn, document, rerun.kinds, first_due=admission.first_due))
        else:
            together[document.collection_id, rerun.kinds].append(document)
    for (_, steps), same in together.items():
        changed += await begin(conn, same, WorkflowKind.REDRIVE, steps, admission)
    workflows = {change.document_id: change.workflow_id for change in changed}
    return [_Covered(it.id, it.generation, workflows[rerun.document_id]) for rerun in again for it in rerun.jobs]


async def _jobs_again(
    conn: Connection, meant: Sequence[Letter], first_due: timedelta, changed: list[Change]
) -> list[_Covered]:
    """Jobs of no document; they belong to no task."""
    covered: dict[str, _Covered] = {}
    for letter in meant:
        if letter.document_id is not None or letter.kind is None or letter.row_id is None or letter.generation is None:
            continue
        if letter.row_id in covered:
            continue
        made = await transitions.want(
            conn,
            kind_of(letter.kind),
            [Wish(letter.kind, letter.subject_id, letter.owner, letter.collection_id)],
            wanted=Wanted(letter.wanted),
            first_due=first_due,
            among=FAILED,
            generation=letter.generation,
        )
        changed.append(Change(tuple(Dispatch(row, SOURCE) for row, _ in made)))
        covered[letter.row_id] = _Covered(letter.row_id, letter.generation, None)
    return list(covered.values())
