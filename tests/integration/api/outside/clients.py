"""Clients of other services, and what tests do around them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import nats
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_common.services import Service
from aperag_common.settings import NatsSettings
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx
    from nats.aio.client import Client

    from aperag_common.bus.connection import Bus

INGEST = "APERAG_INGEST"
OPERATOR = Service.AGENT
"""In these tests this identity may do everything in the services' account: to look at streams, and to publish facts."""


@dataclass(frozen=True, slots=True)
class Identities:
    seeds: dict[Service, Path]
    issuer: Path

    def settings(self, service: Service, url: str) -> NatsSettings:
        return NatsSettings(url=url, seed_file=self.seeds[service])


class Person(Protocol):
    """A user with a key, as the fixtures of the gateway make one."""

    id: str
    key: str
    http: httpx.AsyncClient


async def make_streams(bus: Bus) -> None:
    await topology.apply(bus.js)
    if INGEST not in {spec.name for spec in topology.streams()}:
        await bus.js.add_stream(name=INGEST, subjects=[subjects.ALL_INGEST])


@dataclass(slots=True)
class Outsider:
    """A client as another service has one; ``told`` is what the server complained of."""

    nc: Client
    access: dict[str, Any]
    told: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def owner(self) -> str:
        return str(self.access["owner"])

    async def refused(self, verb: str, subject: str) -> bool:
        """Whether the server says so, and soon. A flush is no proof: it may end with the answer to an earlier ping."""

        async def told() -> bool:
            return any(f'permissions violation for {verb} to "{subject.lower()}"' in it.lower() for it in self.told)

        try:
            return await until(told, within=5, every=0.01)
        except AssertionError:
            return False

    async def answers(self, subject: str, body: bytes = b"") -> bool:
        try:
            await self.nc.request(subject, body, timeout=0.3)
        except (NatsTimeoutError, NoRespondersError):
            return False
        return True


@asynccontextmanager
async def opened(person: Person, key: str | None = None, **options: Any) -> AsyncIterator[Outsider]:
    """With another key of the same person, or with what a test wants of the client."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    access = (await person.http.get("/nats", headers=headers)).json()
    outsider = Outsider(None, access)  # type: ignore[arg-type]  # set at once

    async def on_error(err: Exception) -> None:
        outsider.told.append(str(err))

    async def on_end() -> None:
        outsider.ended.set()

    chosen = {"token": key or person.key, "inbox_prefix": access["inbox_prefix"], **options}
    outsider.nc = await nats.connect(
        access["servers"],
        error_cb=on_error,
        disconnected_cb=on_end,
        closed_cb=on_end,
        reconnect_time_wait=0.05,
        **chosen,
    )
    try:
        yield outsider
    finally:
        await outsider.nc.close()


async def key_of(person: Person, **limits: Any) -> tuple[str, str]:
    """A further key of this person: its id and itself."""
    answer = await person.http.post("/apikeys", json={"description": "outsider", **limits})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"], answer.json()["key"]


async def fact(operator: Bus, owner: str, type_: str = "document.indexed") -> int:
    """An event of this owner; its sequence."""
    ack = await operator.js.publish(subjects.event(owner, *type_.split(".")), b"{}", stream=subjects.EVENTS)
    return ack.seq


async def stored(operator: Bus) -> dict[str, int]:
    """How many messages each stream has."""
    return {it.config.name or "": it.state.messages for it in await operator.js.streams_info()}


async def all_refused(outsider: Outsider, verb: str, subjects_: list[str]) -> list[str]:
    """Those of the subjects that were not refused."""
    return [it for it in subjects_ if not await outsider.refused(verb, it)]


async def spoken(server: str, key: str, line: str) -> str:
    """What the server says to one line of its protocol, with this key."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.rpartition(":")[2]))
    try:
        hello = json.dumps({"verbose": False, "auth_token": key, "protocol": 1})
        writer.write(f"CONNECT {hello}\r\n{line}\r\nPING\r\n".encode())
        return (await asyncio.wait_for(reader.readuntil(b"PONG\r\n"), 10)).decode()
    finally:
        writer.close()
        await writer.wait_closed()
