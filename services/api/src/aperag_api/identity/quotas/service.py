"""Quotas of users: taking, showing and changing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access.quotas import repository
from aperag_api.access.quotas.allowance import hold
from aperag_api.access.quotas.decide import Use, limits
from aperag_api.identity.events.record import QUOTAS, record_user_changed
from aperag_api.identity.quotas.schemas import (
    DefaultQuotas,
    DefaultQuotasOut,
    DefaultQuotasUpdated,
    Quota,
    QuotasUpdated,
    Recalculated,
    UpdatedQuota,
    UserQuotas,
    UserQuotasList,
)
from aperag_api.kernel.auth import Role
from aperag_api.kernel.reading import reading
from aperag_common import errors
from aperag_common.db.models import QuotaType
from aperag_work.change import Change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.access.quotas.repository import Person
    from aperag_api.identity.quotas.schemas import Limits
    from aperag_api.kernel.auth import Caller
    from aperag_work.dispatcher import Dispatcher

UPDATED = "The limits hold from now on; what is above them already stays, and nothing is added to it."
COUNTED = "Usage is always counted from what there is, so nothing had to be corrected."


@dataclass(frozen=True, slots=True)
class QuotaService:
    engine: AsyncEngine
    dispatcher: Dispatcher

    async def keep_initial(self, initial: Mapping[QuotaType, int]) -> None:
        """What the environment says, as defaults until an administrator sets others; at a gateway's start."""
        async with self.engine.begin() as conn:
            await repository.set_defaults(conn, repository.INITIAL, initial)

    async def show(self, caller: Caller, user_id: str | None, search: str | None) -> UserQuotas | UserQuotasList:
        """One's own; anybody's for an administrator."""
        foreign = search is not None or (user_id is not None and user_id != caller.user_id)
        if foreign and caller.role is not Role.ADMIN:
            raise errors.Forbidden("Only an administrator may see the quotas of others")
        async with reading(self.engine) as conn:
            if search is not None:
                found = await repository.search(conn, search)
                if not found:
                    raise errors.NotFound(f"No user has the id, the name or the address {search!r}")
                return UserQuotasList(items=[await _view(conn, person) for person in found])
            return await _view(conn, await _known(conn, user_id or caller.user_id))

    async def update(self, user_id: str, wanted: Limits) -> QuotasUpdated:
        named = wanted.named()
        if not named:
            raise errors.ValidationFailed(f"No limit is named; there are: {', '.join(QuotaType)}")
        async with self.engine.begin() as conn:
            await _known(conn, user_id)
            await repository.open_rows(conn, user_id)
            held = await repository.hold(conn, user_id, sorted(named))
            for quota_type, limit in named.items():
                await repository.set_limit(conn, user_id, quota_type, limit)
            told = await record_user_changed(conn, user_id, QUOTAS)
        self.dispatcher.deliver(Change((), told))
        before = limits(held.own, held.defaults)
        after = limits(dict(held.own) | named, held.defaults)
        updated = [UpdatedQuota(quota_type=it, old_limit=before[it], new_limit=after[it]) for it in named]
        return QuotasUpdated(message=UPDATED, user_id=user_id, updated_quotas=updated)

    async def recalculate(self, user_id: str) -> Recalculated:
        """Count anew; the bound below which nothing is counted is brought down to it."""
        async with self.engine.begin() as conn:
            await _known(conn, user_id)
            await hold(conn, user_id, QuotaType.DOCUMENTS)
            used = await _used(conn, user_id)
            await repository.bound(conn, user_id, QuotaType.DOCUMENTS, used[QuotaType.DOCUMENTS])
        return Recalculated(message=COUNTED, updated_usage=used)

    async def defaults(self) -> DefaultQuotasOut:
        async with reading(self.engine) as conn:
            return DefaultQuotasOut(quotas=_defaults(await repository.defaults(conn)))

    async def update_defaults(self, wanted: Limits) -> DefaultQuotasUpdated:
        named = {quota_type: limit for quota_type, limit in wanted.named().items() if limit is not None}
        if not named:
            raise errors.ValidationFailed(f"No limit is named; there are: {', '.join(QuotaType)}")
        async with self.engine.begin() as conn:
            await repository.set_defaults(conn, repository.DEFAULTS, named)
            found = await repository.defaults(conn)
        message = "The defaults hold from now on for everybody without limits of their own."
        return DefaultQuotasUpdated(message=message, quotas=_defaults(found))


async def _known(conn: AsyncConnection, user_id: str) -> Person:
    found = await repository.person(conn, user_id)
    if found is None:
        raise errors.NotFound(f"User {user_id} not found")
    return found


async def _used(conn: AsyncConnection, user_id: str) -> dict[QuotaType, int]:
    documents = await repository.documents(conn, user_id)
    return {
        QuotaType.COLLECTIONS: await repository.collections(conn, user_id),
        QuotaType.DOCUMENTS: sum(documents.values()),
        QuotaType.DOCUMENTS_PER_COLLECTION: max(documents.values(), default=0),
        QuotaType.BOTS: await repository.bots(conn, user_id),
    }


async def _view(conn: AsyncConnection, person: Person) -> UserQuotas:
    used = await _used(conn, person.id)
    found = limits(await repository.own_limits(conn, person.id), await repository.defaults(conn))
    uses = [Use(quota_type, limit, used[quota_type]) for quota_type, limit in found.items()]
    quotas = [
        Quota(quota_type=it.quota_type, quota_limit=it.limit, current_usage=it.used, remaining=it.remaining)
        for it in uses
    ]
    return UserQuotas(user_id=person.id, username=person.username, email=person.email, role=person.role, quotas=quotas)


def _defaults(found: Mapping[str, int]) -> DefaultQuotas:
    return DefaultQuotas(**{quota_type.value: limit for quota_type, limit in limits({}, found).items()})
