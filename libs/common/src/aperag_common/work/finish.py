"""The fenced end of a step: success, or the removal of its row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.models.document_step import StepKind
from aperag_common.db.models.workflow import Outcome
from aperag_common.events import facts
from aperag_common.work.change import Change
from aperag_common.work.dispatch import DELETING, STEP_COLUMNS, StepRow, step_dispatch
from aperag_common.work.documents import Closing, Conclusion, Draft, LockedDocument, conclude, lock

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

_ACTIVATE = text(
    """
    UPDATE document_step SET status = 'ACTIVE', observed_generation = generation,
        served_generation = coalesce(:served, generation), data = CAST(:data AS jsonb),
        lease_token = NULL, lease_owner = NULL, lease_until = NULL, due_at = 'infinity',
        error_code = NULL, error_message = NULL, settled_at = clock_timestamp(), updated = clock_timestamp()
    WHERE id = :id AND generation = :generation AND lease_token = :token
    """
)

_REMOVE = text("DELETE FROM document_step WHERE id = :id AND generation = :generation AND lease_token = :token")

RELEASE_BUILDS = text(
    f"""
    UPDATE document_step SET dispatch = dispatch + 1, due_at = clock_timestamp() + :first_due,
        updated = clock_timestamp()
    WHERE document_id = :document AND kind <> 'parse' AND status = 'PENDING' AND due_at = 'infinity'
    RETURNING {STEP_COLUMNS}
    """
)
"""Builds wait at ``infinity`` for their parse; this lets them go."""


@dataclass(slots=True)
class Finishing:
    """The open transaction of a step that will be settled when the block ends."""

    conn: AsyncConnection
    row: StepRow
    document: LockedDocument

    async def conclude(self, *, source: str, first_due: timedelta) -> Change:
        """Follow-up of the settled step: released builds, the document's state, the workflow, events."""
        row = self.row
        builds: list[StepRow] = []
        if row.kind == StepKind.PARSE and row.status not in DELETING:
            found = await self.conn.execute(RELEASE_BUILDS, {"document": row.document_id, "first_due": first_due})
            builds = [StepRow(**build._mapping) for build in found]
        closing = Closing(row.workflow_id, row.kind, Outcome.DONE)
        draft = Draft(_fact_of(row), step_details(row))
        [concluded] = await conclude(self.conn, Conclusion(self.document, [closing], [draft]), source=source)
        return Change(
            tuple(step_dispatch(build, source=source) for build in builds),
            concluded.facts,
            row.document_id,
            row.workflow_id,
            settled=not builds,
            ended_after=concluded.ended_after,
        )


def step_details(row: StepRow) -> dict[str, Any]:
    """What an event about a step says of it."""
    return {"kind": row.kind, "generation": row.generation, "workflow_id": row.workflow_id}


def _fact_of(row: StepRow) -> type[facts.DocumentFact]:
    if row.status in DELETING:
        return facts.IndexRemoved
    return facts.DocumentParsed if row.kind == StepKind.PARSE else facts.IndexActivated


async def finish(
    conn: AsyncConnection,
    row: StepRow,
    token: str,
    *,
    served_generation: int | None,
    data: dict[str, Any] | None,
) -> Finishing | None:
    """Lock the document, then write under the fence; None when generation or lease are not ours any more."""
    document = await lock(conn, row.document_id)
    if document is None:
        return None
    fence = {"id": row.id, "generation": row.generation, "token": token}
    if row.status in DELETING:
        written = await conn.execute(_REMOVE, fence)
    elif document.deleted:
        return None
    else:
        written = await conn.execute(_ACTIVATE, {**fence, "served": served_generation, "data": json.dumps(data or {})})
    return Finishing(conn, row, document) if written.rowcount else None
