"""The durable consumers behind subscriptions. An outsider never makes one: it could name any subject to deliver to."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from aperag_common import errors, subjects
from aperag_common.bus import accounts
from aperag_common.events.filters import filter_subjects

if TYPE_CHECKING:
    from datetime import datetime

    from nats.js.api import ConsumerInfo, StreamInfo

    from aperag_api.operations.subscriptions.repository import SubscriptionRow
    from aperag_common.bus.connection import Bus

ACK_SECONDS = 30.0
"""A client that has not acknowledged by then is given the event again."""
ACK_PENDING = 1_000
"""Delivered and not acknowledged; no more are delivered until some are."""
NAMES = f"$JS.API.CONSUMER.NAMES.{subjects.EVENTS}"
NAMES_SECONDS = 5.0
FAILURES = (NatsError, JetStreamError, TimeoutError)


class Consumers:
    """Every call raises ``UpstreamUnavailable`` where NATS, or the stream, is away."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def stream(self) -> StreamInfo:
        try:
            return await self._bus.js.stream_info(subjects.EVENTS)
        except FAILURES as err:
            raise _away() from err

    async def make(self, row: SubscriptionRow, stream_created: datetime | None) -> None:
        """Safe to repeat, by several gateways at once."""
        try:
            await self._bus.js.add_consumer(subjects.EVENTS, _config(row, stream_created))
        except FAILURES as err:
            raise _away() from err

    async def remove(self, subscription_id: str) -> None:
        try:
            with suppress(NotFoundError):
                await self._bus.js.delete_consumer(subjects.EVENTS, accounts.consumer_of(subscription_id))
        except FAILURES as err:
            raise _away() from err

    async def info(self, subscription_id: str) -> ConsumerInfo | None:
        """None while there is none."""
        try:
            found: ConsumerInfo = await self._bus.js.consumer_info(
                subjects.EVENTS, accounts.consumer_of(subscription_id)
            )
        except NotFoundError:
            return None
        except FAILURES as err:
            raise _away() from err
        return found

    async def subscriptions(self) -> set[str]:
        """The ids of all that have a consumer."""
        names: list[str] = []
        while True:
            try:
                asked = json.dumps({"offset": len(names)}).encode()
                answer = json.loads((await self._bus.nc.request(NAMES, asked, timeout=NAMES_SECONDS)).data)
            except FAILURES as err:
                raise _away() from err
            if "error" in answer:
                raise _away()
            page = answer.get("consumers") or []
            names += page
            if not page or len(names) >= answer.get("total", 0):
                return {it for name in names if (it := accounts.subscription_of(name)) is not None}


def _config(row: SubscriptionRow, stream_created: datetime | None) -> ConsumerConfig:
    """In another stream than the subscription began in, no sequence and no time is what it was: it gets everything."""
    config = ConsumerConfig(
        durable_name=accounts.consumer_of(row.id),
        description=f"subscription {row.id} of {row.owner}",
        filter_subjects=[str(it) for it in filter_subjects(None if row.all_owners else row.owner, row.types)],
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_SECONDS,
        max_ack_pending=ACK_PENDING,
        deliver_policy=DeliverPolicy.ALL,
    )
    if row.stream_created != stream_created:
        return config
    if row.start_time is not None:
        start_time = row.start_time.isoformat()
        return config.evolve(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=start_time)
    return config.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=row.start_sequence)


def _away() -> errors.UpstreamUnavailable:
    return errors.UpstreamUnavailable("The event stream did not answer: try again in a moment")
