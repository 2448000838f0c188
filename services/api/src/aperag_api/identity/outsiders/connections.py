"""Connections of outsiders, as the servers know them, and their end."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from nats.errors import Error as NatsError

from aperag_common.bus import accounts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aperag_common.bus.connection import Bus

log = structlog.get_logger(__name__)

PAGE = 1024
ANSWER_SECONDS = 1.0
"""For the first server's answer, or for a kick."""
QUIET_SECONDS = 0.25
"""After an answer: no further server has one."""


@dataclass(frozen=True, slots=True)
class Connection:
    server_id: str
    number: int
    key_id: str


@dataclass(frozen=True, slots=True)
class Connections:
    """Nothing is remembered here: whichever gateway let a connection in, each finds and ends it."""

    bus: Bus

    async def find(self, key_id: str | None = None) -> list[Connection]:
        """Those opened with one key, or all of them; of all servers of a cluster that answer."""
        found: list[Connection] = []
        offset, more = 0, True
        while more:
            answers = await self._ask({"auth": True, "user": key_id or "", "offset": offset, "limit": PAGE})
            found += [it for answer in answers for it in _connections(answer)]
            offset += PAGE
            more = any(answer["data"].get("total", 0) > offset for answer in answers)
        return found

    async def end(self, connections: Iterable[Connection]) -> None:
        await asyncio.gather(*(self._kick(it) for it in connections))

    async def _kick(self, connection: Connection) -> None:
        request = json.dumps({"cid": connection.number}).encode()
        try:
            await self.bus.nc.request(accounts.kick(connection.server_id), request, timeout=ANSWER_SECONDS)
        except (NatsError, TimeoutError) as err:
            log.warning("outsider.not_ended", key_id=connection.key_id, error=repr(err))
        else:
            log.info("outsider.ended", key_id=connection.key_id, server=connection.server_id)

    async def _ask(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        nc = self.bus.nc
        inbox = nc.new_inbox()
        subscription = await nc.subscribe(inbox)
        answers: list[dict[str, Any]] = []
        try:
            await nc.publish(accounts.CONNECTIONS, json.dumps(request).encode(), reply=inbox)
            while True:
                patience = QUIET_SECONDS if answers else ANSWER_SECONDS
                answers.append(json.loads((await subscription.next_msg(patience)).data))
        except TimeoutError:
            return [it for it in answers if it.get("data")]
        finally:
            await subscription.unsubscribe()


def _connections(answer: dict[str, Any]) -> list[Connection]:
    told = answer["data"].get("connections") or []
    return [Connection(answer["data"]["server_id"], it["cid"], it.get("authorized_user", "")) for it in told]
