"""Accepting new documents: rows, steps, workflows and events of a whole request in one statement."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common import ids
from aperag_common.db.models.base import OPEN_SQL
from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.models.document_step import StepKind
from aperag_common.events import facts
from aperag_common.telemetry import propagate
from aperag_common.work import outbox
from aperag_common.work.change import Change
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, step_dispatch
from aperag_common.work.documents import Draft, LockedDocument, message_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.work.opening import Pace

SOURCE = "api"
FIRST_REVISION = 1

# Nothing can be known of these documents before, so there is nothing to lock, to supersede or to derive.
_ACCEPT = text(
    f"""
    WITH flight AS (
        SELECT count(DISTINCT document_id) AS documents FROM document_step
        WHERE owner = :owner AND dispatch > 0 AND status IN {OPEN_SQL}
    ), new AS (
        SELECT * FROM unnest(CAST(:documents AS text[]), CAST(:names AS text[]), CAST(:sizes AS bigint[]),
            CAST(:hashes AS text[]), CAST(:paths AS text[]), CAST(:workflows AS text[]))
            WITH ORDINALITY AS n(id, name, size, sha256, object_path, workflow_id, position)
    ), stored AS (
        INSERT INTO document (id, collection_id, chat_id, owner, name, status, size, sha256, object_path, revision,
            details)
        SELECT id, :collection, :chat, :owner, name, 'PENDING', size, sha256, object_path, {FIRST_REVISION}, '{{}}'
        FROM new
    ), opened AS (
        INSERT INTO workflow (id, document_id, collection_id, owner, kind, status, traceparent)
        SELECT workflow_id, id, :collection, :owner, 'upload', 'RUNNING', :traceparent FROM new
    ), expected AS (
        INSERT INTO workflow_step (workflow_id, kind, generation, outcome)
        SELECT new.workflow_id, k.kind, 1, 'open' FROM new CROSS JOIN unnest(CAST(:kinds AS text[])) AS k(kind)
    ), announced AS (
        INSERT INTO outbox (id, subject, payload, traceparent)
        SELECT e.id::uuid, e.subject, e.payload::jsonb, :traceparent
        FROM unnest(CAST(:events AS text[]), CAST(:subjects AS text[]), CAST(:payloads AS text[]))
            AS e(id, subject, payload)
    ), step AS (
        SELECT s.id, s.document_id, s.kind, new.workflow_id,
            s.kind = 'parse' AND new.position <= :in_flight - flight.documents AS released
        FROM unnest(CAST(:step_ids AS text[]), CAST(:step_documents AS text[]), CAST(:step_kinds AS text[]))
            AS s(id, document_id, kind) JOIN new ON new.id = s.document_id CROSS JOIN flight
    )
    INSERT INTO document_step (id, document_id, collection_id, owner, kind, status, generation, observed_generation,
        dispatch, attempt, failures, due_at, lane, workflow_id, traceparent, data)
    SELECT id, document_id, :collection, :owner, kind, 'PENDING', 1, 0, released::int, 0, 0,
        CASE WHEN kind <> 'parse' THEN 'infinity'
             WHEN released THEN clock_timestamp() + :first_due ELSE clock_timestamp() END,
        :lane, workflow_id, :traceparent, '{{}}'
    FROM step
    RETURNING {STEP_COLUMNS}
    """
)


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document whose bytes already lie at ``object_path``; ``chat_id`` of a chat's file."""

    id: str
    collection_id: str
    owner: str
    name: str
    size: int
    sha256: str
    object_path: str
    chat_id: str | None = None


async def accept(
    conn: AsyncConnection, documents: Sequence[NewDocument], kinds: Iterable[StepKind], pace: Pace
) -> list[Change]:
    """One change per document, in the order given; all of one collection, or one chat, which the caller keeps from being
    deleted.
    """
    traceparent = propagate.current_traceparent()
    wanted = (StepKind.PARSE, *(kind for kind in kinds if kind is not StepKind.PARSE))
    workflows = {d.id: str(ids.new_workflow_id()) for d in documents}
    events = [_uploaded(d, workflows[d.id], traceparent) for d in documents]
    rows = await conn.execute(
        _ACCEPT,
        {
            "owner": documents[0].owner,
            "collection": documents[0].collection_id,
            "chat": documents[0].chat_id,
            "traceparent": traceparent,
            "lane": pace.lane.value,
            "in_flight": pace.in_flight_per_owner,
            "first_due": pace.first_due,
            "kinds": [kind.value for kind in wanted],
            "workflows": list(workflows.values()),
            **_documents(documents),
            **_events(events),
            **_steps(documents, wanted),
        },
    )
    steps = [StepRow(**row._mapping) for row in rows]
    released = {s.document_id: (step_dispatch(s, source=SOURCE),) for s in steps if s.dispatch > 0}
    return [
        Change(released.get(d.id, ()), (event,), d.id, workflows[d.id])
        for d, event in zip(documents, events, strict=True)
    ]


def _uploaded(document: NewDocument, workflow_id: str, traceparent: str | None) -> outbox.Fact:
    stored = LockedDocument(
        document.id,
        document.collection_id,
        document.owner,
        document.name,
        DocumentStatus.PENDING.value,
        FIRST_REVISION,
        deleted=False,
    )
    draft = Draft(facts.DocumentUploaded, {"workflow_id": workflow_id})
    return outbox.fact(message_of(draft, stored, SOURCE), traceparent)


def _documents(documents: Sequence[NewDocument]) -> dict[str, list[Any]]:
    return {
        "documents": [d.id for d in documents],
        "names": [d.name for d in documents],
        "sizes": [d.size for d in documents],
        "hashes": [d.sha256 for d in documents],
        "paths": [d.object_path for d in documents],
    }


def _events(events: Sequence[outbox.Fact]) -> dict[str, list[str]]:
    return {
        "events": [str(event.id) for event in events],
        "subjects": [event.subject for event in events],
        "payloads": [json.dumps(event.payload, ensure_ascii=False) for event in events],
    }


def _steps(documents: Sequence[NewDocument], kinds: Sequence[StepKind]) -> dict[str, list[str]]:
    pairs = [(document.id, kind.value) for document in documents for kind in kinds]
    return {
        "step_ids": [str(ids.new_step_id()) for _ in pairs],
        "step_documents": [document_id for document_id, _ in pairs],
        "step_kinds": [kind for _, kind in pairs],
    }
