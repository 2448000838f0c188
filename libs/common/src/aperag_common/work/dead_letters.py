"""A dead letter as it is written: its row, and the event that tells of it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from aperag_common.bus.delivery import current_delivery
from aperag_common.db.models import DeadLetter
from aperag_common.events import facts
from aperag_common.telemetry import propagate
from aperag_common.work import outbox
from aperag_common.work.letters import payload_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.bus.delivery import Delivery
    from aperag_common.errors import ApeRAGError


def letter_of(failure: ApeRAGError, *, delivery: Delivery | None = None, attempt: int, **row: Any) -> dict[str, Any]:
    """Columns of the letter of a message, by default the one that is being worked on; ``row`` are those of its row."""
    delivery = delivery or current_delivery.get()
    return {
        "id": uuid.uuid4(),
        "consumer": delivery.consumer if delivery else "",
        "subject": delivery.subject if delivery else "",
        "attempt": attempt,
        "code": failure.error_code,
        "message": failure.message,
        "payload": payload_of(delivery.raw.data if delivery else b"{}"),
        "headers": dict(delivery.headers) if delivery else {},
        "traceparent": propagate.current_traceparent(),
        **row,
    }


async def add(conn: AsyncConnection, letter: dict[str, Any]) -> None:
    """Into the caller's transaction, as a letter of nobody: no event tells of it."""
    await conn.execute(insert(DeadLetter), [letter])


async def add_and_tell(conn: AsyncConnection, letter: dict[str, Any], *, source: str) -> outbox.Fact:
    """Into the transaction that gives the row up; the event is to be relayed after it."""
    await add(conn, letter)
    told = outbox.fact(_lettered(letter, source), propagate.current_traceparent())
    await outbox.add(conn, [told])
    return told


def _lettered(letter: dict[str, Any], source: str) -> facts.StepDeadLettered:
    document_id = letter.get("document_id")
    return facts.StepDeadLettered(
        source=source,
        type=facts.StepDeadLettered.type_name,
        subject=document_id or letter["row_id"],
        owner=letter["owner"],
        cause_id=letter.get("workflow_id"),
        data=facts.DeadLetterData(
            dead_letter_id=str(letter["id"]),
            consumer=letter["consumer"],
            row_id=letter["row_id"],
            document_id=document_id,
            code=letter["code"],
            message=letter["message"],
        ),
    )
