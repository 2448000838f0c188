"""Routes of events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from aperag_api.kernel.auth import Admin, Reader, ScopedReader
from aperag_api.kernel.streaming.responses import streamed
from aperag_api.operations.events.service import Begin
from aperag_api.operations.services import Services

router = APIRouter(tags=["events"])


def _begin(
    last_event_id: Annotated[str | None, Query(description="resume after this event")] = None,
    since: Annotated[
        AwareDatetime | None, Query(description="without a position: begin with the events since then that are kept")
    ] = None,
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Begin:
    return Begin(header or last_event_id, since)


From = Annotated[Begin, Depends(_begin)]


@router.get("/events", response_class=StreamingResponse)
async def events(caller: ScopedReader, request: Request, services: Services, begin: From) -> StreamingResponse:
    return streamed(request, await services.events.open(caller, begin), every=services.events.heartbeat)


@router.get("/admin/events", response_class=StreamingResponse)
async def all_events(_: Admin, request: Request, services: Services, begin: From) -> StreamingResponse:
    """The events of all owners, for administrators. Who follows them is in the audit log."""
    return streamed(request, await services.events.open_all(begin), every=services.events.heartbeat)


@router.get("/collections/{collection_id}/documents/{document_id}/events", response_class=StreamingResponse)
async def document_events(
    collection_id: str, document_id: str, caller: Reader, request: Request, services: Services, begin: From
) -> StreamingResponse:
    frames = await services.events.open_document(caller, collection_id, document_id, begin)
    return streamed(request, frames, every=services.events.heartbeat)
