"""Routes of jobs: one's own, and for administrators those of everybody."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from aperag_api.kernel.auth import Admin, Reader, Writer
from aperag_api.kernel.paging import Page, Paged, paged
from aperag_api.kernel.validation import Unfilled
from aperag_api.operations.jobs.decide import Doing, Selection
from aperag_api.operations.jobs.schemas import AnyonesJobSelection, JobOut, JobsChanged, JobSelection, JobState
from aperag_api.operations.services import Services

router = APIRouter(tags=["tasks"])

_Filter = Annotated[Annotated[str, Field(max_length=64)] | None, Unfilled, Query()]
_State = Annotated[JobState | None, Unfilled, Query()]
_Page = Annotated[Page, paged(20, most=100)]


@router.get("/jobs")
async def list_jobs(
    caller: Reader,
    services: Services,
    page: _Page,
    *,
    kind: _Filter = None,
    state: _State = None,
    collection_id: _Filter = None,
    code: _Filter = None,
) -> Paged[JobOut]:
    """Jobs that are under way or failed, what changed last first. Those that ended well are not listed."""
    selection = Selection(owner=caller.user_id, kind=kind, state=state, collection_id=collection_id, code=code)
    return await services.jobs.list(selection, page=page)


@router.post("/jobs/retry")
async def retry_jobs(body: JobSelection, caller: Writer, services: Services) -> JobsChanged:
    """Run all matching failed jobs again: one new task per document. At most 500 jobs per request."""
    return await services.jobs.change(Doing.RETRY, body, owner=caller.user_id)


@router.post("/jobs/cancel")
async def cancel_jobs(body: JobSelection, caller: Writer, services: Services) -> JobsChanged:
    """Cancel the tasks of all matching jobs of documents, except deletes. At most 500 jobs per request."""
    return await services.jobs.change(Doing.CANCEL, body, owner=caller.user_id)


@router.get("/admin/jobs", tags=["admin"])
async def list_all_jobs(
    _: Admin,
    services: Services,
    page: _Page,
    *,
    owner: _Filter = None,
    kind: _Filter = None,
    state: _State = None,
    collection_id: _Filter = None,
    code: _Filter = None,
) -> Paged[JobOut]:
    """As ``/jobs``, of all owners."""
    selection = Selection(owner=owner, kind=kind, state=state, collection_id=collection_id, code=code)
    return await services.jobs.list(selection, page=page)


@router.post("/admin/jobs/retry", tags=["admin"])
async def retry_all_jobs(body: AnyonesJobSelection, _: Admin, services: Services) -> JobsChanged:
    """As ``/jobs/retry``, of all owners."""
    return await services.jobs.change(Doing.RETRY, body, owner=None)


@router.post("/admin/jobs/cancel", tags=["admin"])
async def cancel_all_jobs(body: AnyonesJobSelection, _: Admin, services: Services) -> JobsChanged:
    """As ``/jobs/cancel``, of all owners."""
    return await services.jobs.change(Doing.CANCEL, body, owner=None)
