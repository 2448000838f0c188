"""The facts that tell senders what became of their events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common.events.fact import IngestData
from aperag_common.events.ingests import IngestCompleted, IngestFailed
from aperag_work.opening import SOURCE

if TYPE_CHECKING:
    from aperag_api.knowledge.ingest.repository import EventRow
    from aperag_common.errors import ApeRAGError


def completed(event: EventRow, outcome: str, document_id: str | None, workflow_id: str | None) -> IngestCompleted:
    return IngestCompleted(
        source=SOURCE,
        type=IngestCompleted.type_name,
        subject=event.id,
        owner=event.owner,
        cause_id=workflow_id,
        data=IngestData(
            source=event.source,
            id=event.event_id,
            subject=event.subject,
            collection_id=event.collection_id,
            outcome=outcome,
            document_id=document_id,
            workflow_id=workflow_id,
        ),
    )


def failed(owner: str, about: str, data: IngestData, why: ApeRAGError) -> IngestFailed:
    """``about`` is the id of the event's row, or of its dead letter where it has none."""
    return IngestFailed(
        source=SOURCE,
        type=IngestFailed.type_name,
        subject=about,
        owner=owner,
        data=data.model_copy(update={"code": why.error_code, "message": why.message}),
    )
