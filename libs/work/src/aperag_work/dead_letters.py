"""A dead letter as it is written: its row, and the event that tells of it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from aperag_common.events import facts
from aperag_common.events.fact import DeadLetterData
from aperag_common.jobs.declared import DOCUMENT
from aperag_common.telemetry import propagate
from aperag_work import outbox
from aperag_work.database import Statement
from aperag_work.requeue_rules import payload_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_common.bus.delivery import Delivery
    from aperag_common.errors import ApeRAGError
    from aperag_work.aggregate import FailedAttempt
    from aperag_work.database import Connection
    from aperag_work.rows import JobRow

_COLUMNS = """id, owner, consumer, subject, row_id, document_id, collection_id, workflow_id, kind, generation, attempt,
    failures, worker, code, message, payload, headers, traceparent"""
_INSERT = Statement(
    "insert a dead letter",
    f"""
    INSERT INTO dead_letter ({_COLUMNS}) SELECT {_COLUMNS} FROM jsonb_populate_record(NULL::dead_letter, $1::text::jsonb)
    ON CONFLICT (id) DO NOTHING RETURNING id
    """,
)


def letter_of(
    failure: ApeRAGError,
    *,
    delivery: Delivery | None,
    attempt: int,
    failures: int = 0,
    worker: str | None = None,
    row: JobRow | None = None,
    traceparent: str | None = None,
) -> dict[str, Any]:
    """Columns of the letter of the message ``delivery``; ``row`` is the job's."""
    letter: dict[str, Any] = {
        "id": uuid.uuid4(),
        "consumer": delivery.consumer if delivery else "",
        "subject": delivery.subject if delivery else "",
        "attempt": attempt,
        "failures": failures,
        "worker": worker,
        "code": failure.error_code,
        "message": failure.message,
        "payload": payload_of(delivery.raw.data if delivery else b"{}"),
        "headers": dict(delivery.headers) if delivery else {},
        "traceparent": traceparent or propagate.current_traceparent(),
    }
    if row is not None:
        letter |= {
            "owner": row.owner,
            "row_id": row.id,
            "document_id": row.subject_id if row.declared.aggregate == DOCUMENT else None,
            "collection_id": row.collection_id,
            "workflow_id": row.workflow_id,
            "kind": row.declared.shown,
            "generation": row.generation,
        }
    return letter


def letter_of_attempt(failing: FailedAttempt, *, worker: str | None) -> dict[str, Any]:
    return letter_of(
        failing.failure,
        delivery=failing.delivery,
        attempt=failing.attempt,
        failures=failing.failures,
        worker=worker,
        row=failing.row,
        traceparent=failing.traceparent,
    )


async def add(conn: Connection, letter: Mapping[str, Any]) -> bool:
    """Into the caller's transaction, as a letter of nobody: no event tells of it. False where it is there already."""
    return await _INSERT.count(conn, json.dumps({**letter, "id": str(letter["id"])})) > 0


async def add_with_event(conn: Connection, letter: Mapping[str, Any], *, source: str) -> outbox.OutboxEvent:
    """Into the transaction that gives the job up; the event is to be relayed after it."""
    await add(conn, letter)
    told = outbox.event(_lettered(letter, source), letter["traceparent"])
    await outbox.add(conn, [told])
    return told


def _lettered(letter: Mapping[str, Any], source: str) -> facts.StepDeadLettered:
    document_id = letter.get("document_id")
    data = DeadLetterData(
        dead_letter_id=str(letter["id"]),
        consumer=letter["consumer"],
        row_id=letter["row_id"],
        document_id=document_id,
        code=letter["code"],
        message=letter["message"],
    )
    return facts.StepDeadLettered.of(
        data,
        source=source,
        subject=document_id or letter["row_id"],
        owner=letter["owner"],
        cause_id=letter.get("workflow_id"),
    )
