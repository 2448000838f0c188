"""Routes of a document's bytes (contract 1.4)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from aperag_api.kernel.auth import Reader
from aperag_api.knowledge.contents.schemas import Preview
from aperag_api.knowledge.contents.service import Wanted
from aperag_api.knowledge.services import Services

router = APIRouter(prefix="/collections/{collection_id}/documents/{document_id}", tags=["documents"])


def _wanted(
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_range: Annotated[str | None, Header(alias="If-Range")] = None,
) -> Wanted:
    return Wanted(range_, if_range)


Ranged = Annotated[Wanted, Depends(_wanted)]
ObjectPath = Annotated[str, Query(min_length=1, max_length=1024)]


@router.get("/download", response_class=Response)
async def download_document(
    collection_id: str, document_id: str, wanted: Ranged, caller: Reader, services: Services
) -> Response:
    return await services.contents.download(caller.user_id, collection_id, document_id, wanted)


@router.get("/object", response_class=Response)
async def get_document_object(
    collection_id: str,
    document_id: str,
    path: ObjectPath,
    wanted: Ranged,
    caller: Reader,
    services: Services,
) -> Response:
    return await services.contents.object(caller.user_id, collection_id, document_id, path, wanted)


@router.get("/preview")
async def preview_document(collection_id: str, document_id: str, caller: Reader, services: Services) -> Preview:
    return await services.contents.preview(caller.user_id, collection_id, document_id)
