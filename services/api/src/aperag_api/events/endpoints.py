"""Routes of events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from aperag_api.auth import Reader, ScopedReader, find_caller
from aperag_api.events.sse import MEDIA_TYPE
from aperag_api.events.validity import while_valid
from aperag_api.gateway import Services

router = APIRouter(tags=["events"])


def _last_id(
    last_event_id: Annotated[str | None, Query(description="resume after this event")] = None,
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> str | None:
    return header or last_event_id


LastId = Annotated[str | None, Depends(_last_id)]


@router.get("/events", response_class=StreamingResponse)
async def events(caller: ScopedReader, request: Request, services: Services, last_id: LastId) -> StreamingResponse:
    return _stream(request, services, await services.events.open(caller, last_id))


@router.get("/collections/{collection_id}/documents/{document_id}/events", response_class=StreamingResponse)
async def document_events(
    collection_id: str, document_id: str, caller: Reader, request: Request, services: Services, last_id: LastId
) -> StreamingResponse:
    return _stream(request, services, await services.events.open_document(caller, collection_id, document_id, last_id))


def _stream(request: Request, services: Services, frames: AsyncGenerator[bytes, None]) -> StreamingResponse:
    """A stream is one request for hours: who opened it is looked up again while it lasts."""

    async def valid() -> bool:
        return await find_caller(request) is not None

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    lasting = while_valid(frames, valid, every=services.events.heartbeat)
    return StreamingResponse(lasting, media_type=MEDIA_TYPE, headers=headers)
