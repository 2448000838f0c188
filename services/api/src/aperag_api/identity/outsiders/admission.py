"""Who an outsider is, by the key, and what the connection may do."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.identity.audit.decide import ResourceType
from aperag_api.identity.audit.repository import Entry
from aperag_api.identity.outsiders import repository
from aperag_api.identity.outsiders.decide import permissions_of, reads_all_owners
from aperag_api.kernel.masking import clean
from aperag_api.kernel.reading import reading
from aperag_common import subjects

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.identity.apikeys.credentials import ApiKeyCredentials
    from aperag_api.identity.audit.trail import AuditTrail
    from aperag_api.identity.outsiders.claims import Question
    from aperag_api.kernel.auth import Caller
    from aperag_common.bus.permissions import Permissions


@dataclass(frozen=True, slots=True)
class Admitted:
    """``until`` is when the key expires."""

    caller: Caller
    permissions: Permissions
    until: datetime | None


@dataclass(frozen=True, slots=True)
class OutsiderAdmission:
    engine: AsyncEngine
    keys: ApiKeyCredentials
    trail: AuditTrail

    async def admit(self, question: Question) -> Admitted | None:
        """None for a key that is not, or no longer, valid. That somebody may read everybody's events is on record first."""
        known = await self.keys.find(question.credential)
        if known is None:
            return None
        if reads_all_owners(known.caller):
            await self._record(known.caller, question)
        return Admitted(known.caller, await self.permissions(known.caller), known.expires_at)

    async def permissions(self, caller: Caller) -> Permissions:
        async with reading(self.engine) as conn:
            mine = await repository.subscriptions(conn, caller.user_id, all_owners=reads_all_owners(caller))
        return permissions_of(caller, mine)

    async def _record(self, caller: Caller, question: Question) -> None:
        entry_id = str(uuid.uuid4())
        entry = Entry(
            id=entry_id,
            user_id=caller.user_id,
            username=clean(caller.username, 256),
            resource_type=ResourceType.EVENT.value,
            resource_id=subjects.ALL_EVENTS,
            api_name="connect_to_nats",
            http_method="CONNECT",
            path="nats",
            elapsed=0,
            request_data={"key_id": caller.credential.id, "reads": subjects.ALL_EVENTS},
            ip_address=question.host[:45] or None,
            user_agent=clean(question.client, 512) or None,
            request_id=entry_id,
            status_code=200,
        )
        await self.trail.begin(entry)
        await self.trail.end(entry)
