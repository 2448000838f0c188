"""Routes of dead letters; for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field

from aperag_api.kernel.auth import Admin
from aperag_api.kernel.paging import Page, Paged, paged
from aperag_api.kernel.validation import Unfilled
from aperag_api.operations.dead_letters.decide import Selection
from aperag_api.operations.dead_letters.schemas import (
    DeadLetterDetails,
    DeadLetterOut,
    PurgeAnswer,
    PurgeRequest,
    RedriveAnswer,
    RedriveRequest,
)
from aperag_api.operations.services import Services

router = APIRouter(prefix="/admin/dead-letters", tags=["admin"])

_Filter = Annotated[Annotated[str, Field(max_length=64)] | None, Unfilled, Query()]
_Moment = Annotated[AwareDatetime | None, Unfilled]


@router.get("")
async def list_dead_letters(
    _: Admin,
    services: Services,
    page: Annotated[Page, paged(20, most=100)],
    *,
    code: _Filter = None,
    step: _Filter = None,
    owner: _Filter = None,
    collection_id: _Filter = None,
    document_id: _Filter = None,
    redriven: Annotated[bool | None, Unfilled] = None,
    since: _Moment = None,
    until: _Moment = None,
) -> Paged[DeadLetterOut]:
    """Newest first."""
    selection = Selection(code=code, step=step, owner=owner, collection_id=collection_id, document_id=document_id,
                          redriven=redriven, since=since, until=until)  # fmt: skip
    return await services.dead_letters.list(selection, page=page)


@router.get("/{letter_id}")
async def get_dead_letter(letter_id: str, _: Admin, services: Services) -> DeadLetterDetails:
    """Everything that is known of one, and whether a redrive would do something."""
    return await services.dead_letters.get(letter_id)


@router.post("/redrive")
async def redrive_dead_letters(body: RedriveRequest, _: Admin, services: Services) -> RedriveAnswer:
    """Run again what was given up: one new task per document. At most 500 letters per request."""
    return await services.dead_letters.redrive(body)


@router.post("/purge")
async def purge_dead_letters(body: PurgeRequest, _: Admin, services: Services) -> PurgeAnswer:
    """Forget letters; the documents they are about stay as they are."""
    return await services.dead_letters.purge(body)


@router.delete("/{letter_id}")
async def delete_dead_letter(letter_id: str, _: Admin, services: Services) -> PurgeAnswer:
    return await services.dead_letters.delete(letter_id)
