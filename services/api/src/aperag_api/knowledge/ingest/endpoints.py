"""Routes by which other services send events, and ask what became of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from aperag_api.kernel.auth import ScopedReader, ScopedWriter
from aperag_api.knowledge.ingest.schemas import BODY, AcceptedEvents, IngestEventOut
from aperag_api.knowledge.services import Services

router = APIRouter(prefix="/ingest/events", tags=["ingest"])


@router.post("", status_code=202, openapi_extra=BODY)
async def send_events(
    request: Request, caller: ScopedWriter, services: Services, collection: str | None = None
) -> AcceptedEvents:
    """CloudEvents 1.0, structured, binary or as a batch: all of them are kept, or none.

    Each event brings or deletes the document of its `subject`. Its collection is the extension attribute `collection`,
    else the parameter. An event is known by `source` and `id`: to repeat it changes nothing.
    """
    return await services.ingest.accept(caller, request.headers, await request.body(), collection)


@router.get("")
async def get_event(
    caller: ScopedReader,
    services: Services,
    source: Annotated[str, Query(max_length=512)],
    id: Annotated[str, Query(max_length=512)],  # noqa: A002  # the attribute's name
) -> IngestEventOut:
    return await services.ingest.get(caller, source, id)
