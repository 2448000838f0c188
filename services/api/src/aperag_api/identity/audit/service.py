"""Reading the audit log."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aperag_api.identity.audit import repository
from aperag_api.identity.audit.decide import ResourceType
from aperag_api.identity.audit.schemas import AuditLogOut
from aperag_api.identity.audit.strangers import Strangers
from aperag_api.kernel.auth import Role
from aperag_api.kernel.paging import Page, Paged, SortOrder
from aperag_api.kernel.reading import reading
from aperag_common import errors

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.identity.audit.repository import Filter
    from aperag_api.identity.audit.schemas import AuditSort
    from aperag_api.identity.audit.trail import AuditTrail
    from aperag_api.kernel.auth import Caller


@dataclass(frozen=True, slots=True)
class AuditService:
    engine: AsyncEngine
    trail: AuditTrail
    strangers: Strangers = field(default_factory=Strangers)

    async def list(
        self, caller: Caller, wanted: Filter, *, sort: AuditSort, order: SortOrder, page: Page
    ) -> Paged[AuditLogOut]:
        """Whoever is no administrator sees what they did themselves, whatever user they ask for."""
        if wanted.resource_type is not None and wanted.resource_type not in set(ResourceType):
            message = f"{wanted.resource_type!r} is no type of resource; there are: {', '.join(ResourceType)}"
            raise errors.InvalidParameter(message)
        if caller.role is not Role.ADMIN:
            wanted = replace(wanted, user_id=caller.user_id, username=None)
        async with reading(self.engine) as conn:
            rows, total = await repository.page(conn, wanted, sort=sort.value, order=order.value, page=page)
        return Paged[AuditLogOut].of(rows, total=total, page=page)

    async def get(self, caller: Caller, entry_id: str) -> AuditLogOut:
        user_id = None if caller.role is Role.ADMIN else caller.user_id
        async with reading(self.engine) as conn:
            row = await repository.get(conn, entry_id, user_id=user_id)
        if row is None:
            raise errors.NotFound(f"Audit log {entry_id} not found")
        return row
