"""Taking of what a user may own: exact however many ask at once, and given back with the transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access.quotas import repository
from aperag_api.access.quotas.decide import Use, exceeded, limits
from aperag_common import errors
from aperag_common.db.models import QuotaType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

_ROWS = {
    QuotaType.COLLECTIONS: (QuotaType.COLLECTIONS,),
    QuotaType.DOCUMENTS: (QuotaType.DOCUMENTS, QuotaType.DOCUMENTS_PER_COLLECTION),
    QuotaType.BOTS: (QuotaType.BOTS,),
}
"""What is held for what is taken: a document counts for its owner and in its collection."""

_REFUSALS: Mapping[QuotaType, tuple[type[errors.ClientError], str, str]] = {
    QuotaType.COLLECTIONS: (errors.CollectionQuotaExceeded, "You have {0} of at most {1} collections", "collections"),
    QuotaType.DOCUMENTS: (errors.DocumentQuotaExceeded, "You have {0} of at most {1} documents", "documents"),
    QuotaType.DOCUMENTS_PER_COLLECTION: (
        errors.DocumentQuotaExceeded,
        "The collection holds {0} of at most {1} documents",
        "documents-per-collection",
    ),
    QuotaType.BOTS: (errors.BotQuotaExceeded, "You have {0} of at most {1} bots", "bots"),
}
"""The contract's error, what is said, and the option of ``aperag quotas set`` that changes it."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one user may still take, locked until this transaction ends: their other transactions that take wait.

    Lock order of all: quota, collection, document, step, workflow. So it is held before a collection is touched, also
    where only later turns out how much is taken.
    """

    user_id: str
    quota_type: QuotaType
    limits: Mapping[QuotaType, int]
    at_most: int | None

    async def take(self, conn: AsyncConnection, count: int = 1, *, collection_id: str | None = None) -> None:
        """Raises the contract's error where ``count`` more do not fit; called once, before they are inserted."""
        if count == 0:
            return
        uses = await self._uses(conn, count, collection_id)
        if (refused := exceeded(count, uses)) is not None:
            raise _refusal(self.user_id, refused, count)
        if self.quota_type is QuotaType.DOCUMENTS:
            await repository.bound(conn, self.user_id, self.quota_type, uses[0].used + count)

    async def _uses(self, conn: AsyncConnection, count: int, collection_id: str | None) -> list[Use]:
        if self.quota_type is QuotaType.DOCUMENTS:
            return await self._documents(conn, count, collection_id)
        counted = repository.collections if self.quota_type is QuotaType.COLLECTIONS else repository.bots
        return [self._use(self.quota_type, await counted(conn, self.user_id))]

    async def _documents(self, conn: AsyncConnection, count: int, collection_id: str | None) -> list[Use]:
        """Counted only where the bound of what there is does not fit: counting takes longer the more there is."""
        total = here = self.at_most
        if total is None or here is None or total + count > self.limits[QuotaType.DOCUMENTS]:
            counts = await repository.documents(conn, self.user_id)
            total, here = sum(counts.values()), counts.get(collection_id or "", 0)
        elif collection_id and here + count > self.limits[QuotaType.DOCUMENTS_PER_COLLECTION]:
            here = (await repository.documents(conn, self.user_id, collection_id)).get(collection_id, 0)
        uses = [self._use(QuotaType.DOCUMENTS, total)]
        return [*uses, self._use(QuotaType.DOCUMENTS_PER_COLLECTION, here)] if collection_id else uses

    def _use(self, quota_type: QuotaType, used: int) -> Use:
        return Use(quota_type, self.limits[quota_type], used)


async def hold(conn: AsyncConnection, user_id: str, quota_type: QuotaType) -> Allowance:
    """The first lock of a transaction that adds to what a user owns."""
    types = _ROWS[quota_type]
    held = await repository.hold(conn, user_id, types)
    if len(held.own) < len(types):  # of a user from before there were quotas
        await repository.open_rows(conn, user_id)
        held = await repository.hold(conn, user_id, types)
    return Allowance(user_id, quota_type, limits(held.own, held.defaults), held.at_most.get(quota_type))


async def take(conn: AsyncConnection, user_id: str, quota_type: QuotaType) -> None:
    """Before one row is inserted, and before any other lock; where those are needed first, see ``hold``."""
    await (await hold(conn, user_id, quota_type)).take(conn)


def _refusal(user_id: str, use: Use, asked: int) -> errors.ClientError:
    error, told, option = _REFUSALS[use.quota_type]
    more = "one more does not fit" if asked == 1 else f"{asked} more do not fit"
    message = (
        f"{told.format(use.used, use.limit)}, so {more}. Delete what is no longer needed, or have an administrator"
        f" allow more: aperag quotas set {user_id} --{option} NUMBER"
    )
    details = {
        "quota_type": use.quota_type.value,
        "quota_limit": use.limit,
        "current_usage": use.used,
        "quota_exceeded": True,
    }
    return error(message, details=details)
