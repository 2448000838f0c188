"""Making, showing and deleting durable subscriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_api.kernel.auth import Role
from aperag_api.kernel.reading import reading
from aperag_api.operations.subscriptions import repository
from aperag_api.operations.subscriptions.repository import NewSubscription
from aperag_api.operations.subscriptions.schemas import (
    FromSequence,
    FromTime,
    Start,
    SubscriptionList,
    SubscriptionState,
    SubscriptionView,
)
from aperag_common import errors, ids, subjects
from aperag_common.bus import accounts
from aperag_common.events.filters import filter_subjects, unknown

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_api.operations.subscriptions.consumers import Consumers
    from aperag_api.operations.subscriptions.repository import SubscriptionRow
    from aperag_api.operations.subscriptions.schemas import SubscriptionCreate

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SubscriptionService:
    engine: AsyncEngine
    consumers: Consumers
    most: int

    async def create(self, caller: Caller, body: SubscriptionCreate) -> SubscriptionView:
        """It begins where it is told when this answers, also where its consumer is made only later."""
        if body.all_owners and caller.role is not Role.ADMIN:
            raise errors.Forbidden("Only an administrator reads the events of all owners: leave out all_owners")
        if strange := unknown(body.types or ()):
            raise errors.InvalidParameter(f"No event has the type {', '.join(strange)}: see GET /asyncapi.json")
        new = await self._begin(caller, body)
        async with self.engine.begin() as conn:
            if await repository.count_held(conn, caller.user_id) >= self.most:
                message = f"You have {self.most} subscriptions, which is the most: delete one that is no longer read"
                raise errors.SubscriptionLimitReached(message)
            row = await repository.insert(conn, new)
        if row is None:
            raise errors.Conflict(f"You have a subscription named {body.name!r}: read from it, or choose another name")
        try:
            await self.consumers.make(row, row.stream_created)
        except errors.UpstreamUnavailable as err:
            log.warning("subscription.without_consumer", subscription_id=row.id, error=err.message)
        return _view(row)

    async def list(self, owner: str) -> SubscriptionList:
        async with reading(self.engine) as conn:
            rows = await repository.of_owner(conn, owner)
        return SubscriptionList(items=[_view(row) for row in rows])

    async def get(self, owner: str, subscription_id: str) -> SubscriptionState:
        async with reading(self.engine) as conn:
            row = await repository.get(conn, subscription_id, owner)
        if row is None:
            raise _not_found(subscription_id)
        info = await self.consumers.info(row.id)
        if info is None:
            return SubscriptionState(**_view(row).model_dump())
        floor = info.ack_floor
        return SubscriptionState(
            **_view(row).model_dump(),
            pending=info.num_pending,
            ack_pending=info.num_ack_pending,
            redelivered=info.num_redelivered,
            last_acknowledged=None if floor is None else floor.last_active,
        )

    async def delete(self, owner: str, subscription_id: str) -> None:
        async with self.engine.begin() as conn:
            if not await repository.delete(conn, subscription_id, owner):
                raise _not_found(subscription_id)
        try:
            await self.consumers.remove(subscription_id)
        except errors.UpstreamUnavailable as err:
            log.warning("subscription.with_consumer", subscription_id=subscription_id, error=err.message)

    async def _begin(self, caller: Caller, body: SubscriptionCreate) -> NewSubscription:
        """Now is a sequence: events that come until the consumer is there are not lost."""
        stream = await self.consumers.stream()
        sequence: int | None = stream.state.last_seq + 1
        time: datetime | None = None
        match body.start:
            case FromSequence():
                sequence = body.start.sequence
            case FromTime():
                sequence, time = None, body.start.time
        if stream.created is None:
            raise errors.UpstreamUnavailable("The event stream does not tell since when it is there")
        return NewSubscription(
            id=ids.new_event_subscription_id(),
            owner=caller.user_id,
            name=body.name,
            types=None if body.types is None else sorted(set(body.types)),
            all_owners=body.all_owners,
            start_sequence=sequence,
            start_time=time,
            stream_created=stream.created,
        )


def _view(row: SubscriptionRow) -> SubscriptionView:
    return SubscriptionView(
        id=row.id,
        name=row.name,
        stream=subjects.EVENTS,
        consumer=accounts.consumer_of(row.id),
        types=row.types,
        all_owners=row.all_owners,
        filter_subjects=[str(it) for it in filter_subjects(None if row.all_owners else row.owner, row.types)],
        start=Start(sequence=row.start_sequence, time=row.start_time),
        created=row.created,
    )


def _not_found(subscription_id: str) -> errors.NotFound:
    return errors.NotFound(f"Subscription {subscription_id} not found")
