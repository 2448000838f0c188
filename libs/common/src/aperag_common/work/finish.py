"""The fenced end of steps: success, or the removal of their rows; one transaction for as many as end together."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.models.document_step import StepKind
from aperag_common.db.models.workflow import Outcome
from aperag_common.events import facts
from aperag_common.work.batching import HELD, Held
from aperag_common.work.change import Change
from aperag_common.work.dispatch import DELETING, STEP_COLUMNS, StepRow, step_dispatch
from aperag_common.work.documents import Closing, Conclusion, Draft, LockedDocument, conclude, lock_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

# The caller holds the documents' locks; a step whose generation or lease has changed is left alone.
_ACTIVATE = text(
    """
    UPDATE document_step s SET status = 'ACTIVE', observed_generation = s.generation,
        served_generation = coalesce(e.served, s.generation), data = CAST(e.data AS jsonb),
        lease_token = NULL, lease_owner = NULL, lease_until = NULL, due_at = 'infinity',
        error_code = NULL, error_message = NULL, settled_at = clock_timestamp(), updated = clock_timestamp()
    FROM unnest(CAST(:ids AS text[]), CAST(:generations AS int[]), CAST(:tokens AS text[]), CAST(:served AS int[]),
        CAST(:data AS text[])) AS e(id, generation, token, served, data)
    WHERE s.id = e.id AND s.generation = e.generation AND s.lease_token = e.token
    RETURNING e.token
    """
)

_REMOVE = text(
    """
    DELETE FROM document_step s
    USING unnest(CAST(:ids AS text[]), CAST(:generations AS int[]), CAST(:tokens AS text[])) AS e(id, generation, token)
    WHERE s.id = e.id AND s.generation = e.generation AND s.lease_token = e.token
    RETURNING e.token
    """
)

RELEASE_BUILDS = text(
    f"""
    UPDATE document_step SET dispatch = dispatch + 1, due_at = clock_timestamp() + :first_due,
        updated = clock_timestamp()
    WHERE document_id = ANY(:documents) AND kind <> 'parse' AND status = 'PENDING' AND due_at = 'infinity'
    RETURNING {STEP_COLUMNS}
    """
)
"""Builds wait at ``infinity`` for their parse; this lets them go."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A step whose work is done, as its worker knows it; ``served_generation`` is its own where None."""

    row: StepRow
    token: str
    served_generation: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Finishing:
    """A step that is settled once the open transaction commits."""

    conn: AsyncConnection
    row: StepRow
    document: LockedDocument
    traceparent: str | None


async def finish(
    conn: AsyncConnection, endings: Sequence[Ending], *, wait: bool = True
) -> list[Finishing | Held | None]:
    """Lock the documents, then write under the fence; None where generation or lease are not the ending's any more.

    Unless ``wait``, a step whose document is locked by somebody else, or gone, is left alone and answered as held up.
    At most one kind of step per call, so that no document is concluded twice in one transaction.
    """
    documents = await lock_all(conn, (e.row.document_id for e in endings), wait=wait)
    living = [e for e in endings if e.row.document_id in documents]
    removed = [e for e in living if e.row.status in DELETING]
    active = [e for e in living if e.row.status not in DELETING and not documents[e.row.document_id].deleted]
    written: set[str] = set()
    if removed:
        written.update((await conn.execute(_REMOVE, _fence(removed))).scalars())
    if active:
        served = [e.served_generation for e in active]
        data = [json.dumps(dict(e.data)) for e in active]
        written.update((await conn.execute(_ACTIVATE, {**_fence(active), "served": served, "data": data})).scalars())
    held = None if wait else HELD
    return [
        held
        if e.row.document_id not in documents
        else Finishing(conn, e.row, documents[e.row.document_id], e.traceparent)
        if e.token in written
        else None
        for e in endings
    ]


def _fence(endings: Sequence[Ending]) -> dict[str, list[Any]]:
    return {
        "ids": [e.row.id for e in endings],
        "generations": [e.row.generation for e in endings],
        "tokens": [e.token for e in endings],
    }


async def conclude_all(
    conn: AsyncConnection, finishings: Sequence[Finishing], *, source: str, first_due: timedelta
) -> list[Change]:
    """Follow-up of settled steps: released builds, the documents' states, the workflows, events."""
    parsed = [f.row.document_id for f in finishings if f.row.kind == StepKind.PARSE and f.row.status not in DELETING]
    builds: dict[str, list[StepRow]] = defaultdict(list)
    if parsed:
        for found in await conn.execute(RELEASE_BUILDS, {"documents": parsed, "first_due": first_due}):
            builds[found.document_id].append(StepRow(**found._mapping))
    conclusions = [
        Conclusion(
            f.document,
            [Closing(f.row.workflow_id, f.row.kind, Outcome.DONE)],
            [Draft(_fact_of(f.row), step_details(f.row))],
            f.traceparent,
        )
        for f in finishings
    ]
    concluded = await conclude(conn, *conclusions, source=source)
    return [
        Change(
            tuple(step_dispatch(build, source=source) for build in builds[f.row.document_id]),
            done.facts,
            f.row.document_id,
            f.row.workflow_id,
            settled=done.ended,
            ended_after=done.ended_after,
        )
        for f, done in zip(finishings, concluded, strict=True)
    ]


def step_details(row: StepRow) -> dict[str, Any]:
    """What an event about a step says of it."""
    return {"kind": row.kind, "generation": row.generation, "workflow_id": row.workflow_id}


def _fact_of(row: StepRow) -> type[facts.DocumentFact]:
    if row.status in DELETING:
        return facts.IndexRemoved
    return facts.DocumentParsed if row.kind == StepKind.PARSE else facts.IndexActivated
