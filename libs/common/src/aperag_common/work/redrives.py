"""Redriving dead letters: what was given up is wanted again, as a new generation and a new task.

Every function works inside the caller's transaction. Under its document's lock each letter is judged anew, so of two
redrives that meet, and of a redrive that meets a rebuild, a delete or a cancel, exactly one has an effect.
Transitions made here are the gateway's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from aperag_common.db.models.workflow import WorkflowKind
from aperag_common.work import changes, driven
from aperag_common.work.change import Change
from aperag_common.work.documents import lock_all
from aperag_common.work.driven_tables import TABLES
from aperag_common.work.letters import FailedStep, Letter, Verdict, judge, reruns
from aperag_common.work.opening import SOURCE, begin

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.db.models.document_step import StepKind
    from aperag_common.work.documents import LockedDocument
    from aperag_common.work.opening import Pace

_IDS = bindparam("ids", type_=ARRAY(UUID(as_uuid=True)))

_DOCUMENTS = text(
    """
    SELECT DISTINCT s.document_id FROM dead_letter l JOIN document_step s ON s.id = l.row_id
    WHERE l.id = ANY(:ids) AND l.redriven_at IS NULL
    """
).bindparams(_IDS)

_LOCK_ROWS = {
    table: text(
        f"""
        SELECT id FROM {table} WHERE id IN (
            SELECT row_id FROM dead_letter WHERE id = ANY(:ids) AND kind = '{table}' AND redriven_at IS NULL)
        ORDER BY id FOR UPDATE
        """
    ).bindparams(_IDS)
    for table in TABLES
}

_READ = text(
    """
    SELECT l.id, l.kind, l.row_id, l.generation, l.redriven_at IS NOT NULL AS redriven, s.document_id,
        coalesce(s.status, p.status, u.status, m.status, t.status) AS status,
        coalesce(s.generation, p.generation, u.generation, m.generation, t.generation) AS current_generation,
        coalesce(c.status = 'DELETED', false) AS collection_deleted
    FROM dead_letter l
    LEFT JOIN document_step s ON s.id = l.row_id
    LEFT JOIN collection_purge p ON l.kind = 'collection_purge' AND p.id = l.row_id
    LEFT JOIN user_purge u ON l.kind = 'user_purge' AND u.id = l.row_id
    LEFT JOIN collection_summary m ON l.kind = 'collection_summary' AND m.id = l.row_id
    LEFT JOIN turn t ON l.kind = 'turn' AND t.id = l.row_id
    LEFT JOIN collection c ON c.id = coalesce(s.collection_id, m.id)
    WHERE l.id = ANY(:ids)
    """
).bindparams(_IDS)

_FAILED = text(
    """
    SELECT id, document_id, kind, generation, attempt, error_code, error_message FROM document_step
    WHERE document_id = ANY(:documents) AND status = 'FAILED'
    """
)

# Every letter of what is run again, also those that nobody selected. In the order in which letters are deleted.
_MARK = text(
    """
    WITH covered AS (
        SELECT * FROM unnest(CAST(:rows AS text[]), CAST(:kinds AS text[]), CAST(:generations AS int[]),
            CAST(:workflows AS text[])) AS c(row_id, kind, generation, workflow_id)
    ), held AS (
        SELECT l.id, c.workflow_id FROM dead_letter l
        JOIN covered c ON c.row_id = l.row_id AND c.kind = l.kind AND c.generation = l.generation
        WHERE l.redriven_at IS NULL ORDER BY l.created, l.id FOR UPDATE OF l
    )
    UPDATE dead_letter SET redriven_at = clock_timestamp(), redriven_workflow_id = held.workflow_id
    FROM held WHERE dead_letter.id = held.id
    """
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one letter; ``workflow_id`` is the task of its redrive, where it has one."""

    verdict: Verdict
    workflow_id: str | None = None


@dataclass(slots=True)
class Redriven:
    """``answers`` are by letter; ``changes`` are to be delivered after the commit."""

    answers: dict[uuid.UUID, Answer]
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Covered:
    """A row's generation that is run again."""

    row_id: str
    kind: str
    generation: int
    workflow_id: str | None


async def preview(conn: AsyncConnection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Verdict]:
    """What a redrive of these letters would do now."""
    letters = await _read(conn, ids)
    return {id_: judge(letters[id_]) if id_ in letters else Verdict.UNKNOWN for id_ in ids}


async def redrive(conn: AsyncConnection, ids: Sequence[uuid.UUID], pace: Pace) -> Redriven:
    """One task per document, over what of it was given up; every letter gets an answer."""
    documents = await lock_all(conn, (await conn.execute(_DOCUMENTS, {"ids": list(ids)})).scalars())
    for table in TABLES:
        await conn.execute(_LOCK_ROWS[table], {"ids": list(ids)})
    letters = await _read(conn, ids)
    verdicts = {id_: judge(letters[id_]) if id_ in letters else Verdict.UNKNOWN for id_ in ids}
    meant = [letters[id_] for id_, verdict in verdicts.items() if verdict is Verdict.REDRIVEN]
    found: list[Change] = []
    covered = await _documents_again(conn, meant, documents, pace, found)
    covered += await _rows_again(conn, meant, pace.first_due, found)
    await _mark(conn, covered)
    tasks = {(it.row_id, it.generation): it.workflow_id for it in covered}
    answers = {id_: Answer(verdict) for id_, verdict in verdicts.items()}
    for letter in meant:
        answers[letter.id] = Answer(Verdict.REDRIVEN, tasks.get((letter.row_id or "", letter.generation or 0)))
    return Redriven(answers, found)


async def _read(conn: AsyncConnection, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Letter]:
    return {row.id: Letter(**row._mapping) for row in await conn.execute(_READ, {"ids": list(ids)})}


async def _documents_again(
    conn: AsyncConnection,
    meant: Sequence[Letter],
    documents: Mapping[str, LockedDocument],
    pace: Pace,
    found: list[Change],
) -> list[_Covered]:
    """Removals one by one, builds together where they are of one collection and of the same kinds."""
    ids = [letter.document_id for letter in meant if letter.document_id is not None]
    failed = [FailedStep(**row._mapping) for row in await conn.execute(_FAILED, {"documents": ids})]
    again = reruns(meant, failed)
    together: dict[tuple[str, tuple[StepKind, ...]], list[LockedDocument]] = defaultdict(list)
    for rerun in again:
        document = documents[rerun.document_id]
        if document.deleted:
            found.append(await changes.remove_again(conn, document, rerun.kinds, first_due=pace.first_due))
        else:
            together[document.collection_id, rerun.kinds].append(document)
    for (_, kinds), same in together.items():
        found += await begin(conn, same, WorkflowKind.REDRIVE, kinds, pace)
    workflows = {change.document_id: change.workflow_id for change in found}
    return [_Covered(s.id, s.kind, s.generation, workflows[rerun.document_id]) for rerun in again for s in rerun.steps]


async def _rows_again(
    conn: AsyncConnection, meant: Sequence[Letter], first_due: timedelta, found: list[Change]
) -> list[_Covered]:
    """Driven rows that are no document steps; they belong to no task."""
    rows = dict.fromkeys((it.kind, it.row_id, it.generation) for it in meant if it.document_id is None)
    covered: list[_Covered] = []
    for kind, row_id, generation in rows:
        if kind is not None and row_id is not None and generation is not None:
            command = await driven.raise_again(
                conn, TABLES[kind], row_id, first_due=first_due, source=SOURCE, generation=generation
            )
            found.append(Change(() if command is None else (command,)))
            covered.append(_Covered(row_id, kind, generation, None))
    return covered


async def _mark(conn: AsyncConnection, covered: Sequence[_Covered]) -> None:
    parameters = {
        "rows": [it.row_id for it in covered],
        "kinds": [it.kind for it in covered],
        "generations": [it.generation for it in covered],
        "workflows": [it.workflow_id for it in covered],
    }
    await conn.execute(_MARK, parameters)
