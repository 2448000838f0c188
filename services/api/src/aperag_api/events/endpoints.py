"""Routes of events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse

from aperag_api.auth import Reader
from aperag_api.events.sse import MEDIA_TYPE
from aperag_api.gateway import Services

router = APIRouter(tags=["events"])


def _last_id(
    last_event_id: Annotated[str | None, Query(description="resume after this event")] = None,
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> str | None:
    return header or last_event_id


LastId = Annotated[str | None, Depends(_last_id)]


@router.get("/events", response_class=StreamingResponse)
async def events(caller: Reader, services: Services, last_id: LastId) -> StreamingResponse:
    return _stream(await services.events.open(caller.user_id, last_id))


@router.get("/collections/{collection_id}/documents/{document_id}/events", response_class=StreamingResponse)
async def document_events(
    collection_id: str, document_id: str, caller: Reader, services: Services, last_id: LastId
) -> StreamingResponse:
    return _stream(await services.events.open_document(caller.user_id, collection_id, document_id, last_id))


def _stream(frames: AsyncIterator[bytes]) -> StreamingResponse:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(frames, media_type=MEDIA_TYPE, headers=headers)
