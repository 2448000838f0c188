"""When a system has come to rest: no task open, every event relayed, no message held."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus

_OPEN = text(
    """
    SELECT (SELECT count(*) FROM workflow WHERE collection_id = :collection AND status = 'RUNNING')
        + (SELECT count(*) FROM job WHERE collection_id = :collection
            AND (status NOT IN ('ACTIVE', 'FAILED', 'DELETED') OR lease_token IS NOT NULL)) AS work,
        (SELECT count(*) FROM outbox WHERE epoch IS DISTINCT FROM
            (SELECT epoch FROM stream_epoch WHERE stream = :events)) AS unrelayed
    """
)


@dataclass(slots=True)
class Rest:
    """When each part was last seen to come to rest (``time.time``); None while it has not."""

    work: float | None = None
    relay: float | None = None
    consumers: float | None = None

    @property
    def reached(self) -> float | None:
        moments = (self.work, self.relay, self.consumers)
        return None if None in moments else max(moment for moment in moments if moment is not None)


async def until_at_rest(bus: Bus, rows: AsyncEngine, collection: str, *, within: float) -> Rest:
    """The parts that never came to rest are left None: whoever asked finds out what is stuck."""
    rest = Rest()

    async def look() -> bool:
        work, relay = await _open_work(rows, collection)
        rest.work = _since(rest.work, quiet=work == 0)
        rest.relay = _since(rest.relay, quiet=relay == 0)
        rest.consumers = _since(rest.consumers, quiet=await commands_left(bus) == 0)
        return rest.reached is not None

    try:
        await until(look, within=within)
    except AssertionError:
        return rest
    return rest


async def commands_left(bus: Bus) -> int:
    """Messages that nobody has settled; -1 where the server or the stream is not there."""
    try:
        state = (await bus.js.stream_info(subjects.COMMANDS)).state
        infos = [
            await bus.js.consumer_info(subjects.COMMANDS, spec.name)
            for spec in topology.stream(subjects.COMMANDS).consumers
        ]
    except (NatsError, OSError):
        return -1
    return int(state.messages) + sum((info.num_ack_pending or 0) + (info.num_pending or 0) for info in infos)


async def _open_work(rows: AsyncEngine, collection: str) -> tuple[int, int]:
    try:
        async with rows.connect() as conn:
            found = (await conn.execute(_OPEN, {"collection": collection, "events": subjects.EVENTS})).one()
    except (SQLAlchemyError, OSError):
        return -1, -1
    return int(found.work), int(found.unrelayed)


def _since(before: float | None, *, quiet: bool) -> float | None:
    if not quiet:
        return None
    return time.time() if before is None else before
