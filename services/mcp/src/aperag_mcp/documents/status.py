"""Where a document is, and why."""

from __future__ import annotations

from typing import Any

from aperag_mcp.documents.schemas import Document, DocumentStatus, Stage
from aperag_mcp.gateway.client import Gateway
from aperag_mcp.gateway.failures import GatewayFailure

KINDS = ("vector", "fulltext", "graph", "summary", "vision")


async def timeline(gateway: Gateway, document: tuple[str, ...]) -> dict[str, Any] | None:
    """None where the gateway keeps no timelines."""
    try:
        return dict(await gateway.get(*document, "timeline"))
    except GatewayFailure as err:
        if err.route_missing:
            return None
        raise


def status_of(document: Document, timeline: dict[str, Any] | None) -> DocumentStatus:
    searchable = [kind for kind in KINDS if getattr(document, f"{kind}_index_status") == "ACTIVE"]
    if timeline is None:
        return DocumentStatus(document=document, searchable_by=searchable, summary=_summary(document))
    stages = [Stage.model_validate(stage) for stage in timeline["stages"]]
    return DocumentStatus(document=document, searchable_by=searchable, summary=timeline["summary"], stages=stages)


def _summary(document: Document) -> str:
    why = f": {document.error_code}, {document.error_message}" if document.error_code else ""
    return f"{document.name} is {document.status}{why}"
