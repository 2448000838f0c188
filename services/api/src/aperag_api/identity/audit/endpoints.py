"""Routes of the audit log (contract 1.13)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, Field

from aperag_api.identity.audit.repository import Filter
from aperag_api.identity.audit.schemas import AuditLogOut, AuditSort
from aperag_api.identity.services import Services
from aperag_api.kernel.auth import Reader
from aperag_api.kernel.paging import Page, Paged, SortOrder, paged
from aperag_api.kernel.validation import Unfilled

router = APIRouter(prefix="/audit-logs", tags=["audit"])

Short = Annotated[str, Field(max_length=256)]
Exactly = Annotated[Short | None, Unfilled, Query()]
Part = Annotated[Short | None, Unfilled, Query(description="what it contains")]
Status = Annotated[int, Field(ge=100, le=599)]
Moment = Annotated[AwareDatetime | None, Unfilled, Query()]


def wanted(
    user_id: Exactly = None,
    username: Exactly = None,
    resource_type: Exactly = None,
    resource_id: Exactly = None,
    api_name: Part = None,
    http_method: Exactly = None,
    status_code: Annotated[Status | None, Unfilled, Query()] = None,
    start_date: Moment = None,
    end_date: Moment = None,
    search: Part = None,
) -> Filter:
    method = None if http_method is None else http_method.upper()
    return Filter(
        user_id, username, resource_type, resource_id, api_name, method, status_code, start_date, end_date, search
    )


@router.get("")
async def list_audit_logs(
    caller: Reader,
    services: Services,
    page: Annotated[Page, paged(20, most=100)],
    filter_: Annotated[Filter, Depends(wanted)],
    sort_by: AuditSort = AuditSort.CREATED,
    sort_order: SortOrder = SortOrder.DESC,
) -> Paged[AuditLogOut]:
    """Every call that changes something, or tried to; an administrator sees those of all users."""
    return await services.audit.list(caller, filter_, sort=sort_by, order=sort_order, page=page)


@router.get("/{entry_id}")
async def get_audit_log(entry_id: str, caller: Reader, services: Services) -> AuditLogOut:
    return await services.audit.get(caller, entry_id)
