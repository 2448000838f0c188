"""Who is let in, for how long, and what becomes of open connections when a key, a user or a gateway ends."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import nats
import pytest
from nats.errors import Error as NatsError
from sqlalchemy import text
from tests.integration.api.outside.clients import fact, key_of

from aperag_api.identity.apikeys import ending
from aperag_common import subjects
from aperag_common.bus.connection import connect
from aperag_common.events.accounts import KeyRevoked
from aperag_common.services import Service
from aperag_standalone.nats import make_keys
from aperag_testing.waiting import until
from aperag_work.change import Change

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine
    from tests.integration.api.outside.clients import Identities, Outsider, Person

    from aperag_api.edge.gateway import Gateway
    from aperag_common.bus.connection import Bus
    from aperag_standalone.nats import NatsServer

KICKED_WITHIN = 2.0
VIOLATION = "Authorization Violation"


async def refused(server: NatsServer, **options: Any) -> str:
    with pytest.raises(NatsError) as caught:
        nc = await nats.connect(server.url, allow_reconnect=False, **options)
        await nc.close()
    return str(caught.value)


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        ({}, "no API key"),
        ({"token": "sk-" + "0" * 32}, "unknown, revoked or expired"),
        ({"token": "secret"}, "is no API key"),
        ({"token": "Bearer sk-" + "0" * 32}, "is no API key"),
        ({"user": "alice", "password": "secret"}, "is no API key"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("gateway")
async def test_a_wrong_key_is_refused_at_once_and_the_log_says_why(
    nats_server: NatsServer, logged: list[Any], credential: dict[str, str], reason: str
) -> None:
    begun = time.monotonic()
    assert VIOLATION in await refused(nats_server, **credential)
    assert time.monotonic() - begun < 1.5
    [line] = [it for it in logged if it["event"] == "outsider.refused"]
    assert reason in line["reason"]
    assert "sk-" not in line["client"]
    assert reason in nats_server.log_tail()
    for name in ("token", "password"):
        assert credential.get(name, "sk-") not in nats_server.log_tail()


async def test_the_key_may_be_the_password_as_well(alice: Person, nats_server: NatsServer) -> None:
    nc = await nats.connect(nats_server.url, user="anything", password=alice.key, allow_reconnect=False)
    assert nc.is_connected
    await nc.close()


@pytest.mark.usefixtures("gateway")
async def test_a_services_seed_of_another_installation_is_refused(nats_server: NatsServer, tmp_path: Any) -> None:
    foreign = make_keys(tmp_path)[Service.API].read_text(encoding="ascii").strip()
    assert VIOLATION in await refused(nats_server, nkeys_seed_str=foreign)


async def test_a_revoked_key_ends_its_connections_and_no_others(
    alice: Person, operator: Bus, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    events = await operator.js.subscribe(subjects.events_of_type(KeyRevoked.type_name), stream=subjects.EVENTS)
    key_id, key = await key_of(alice)
    mine = [await connected(alice, key, allow_reconnect=False) for _ in range(3)]
    other = await connected(alice)
    assert (await alice.http.delete(f"/apikeys/{key_id}")).json() is True
    begun = time.monotonic()
    async with asyncio.timeout(KICKED_WITHIN):
        await asyncio.gather(*(it.ended.wait() for it in mine))
    assert time.monotonic() - begun < KICKED_WITHIN
    assert not other.ended.is_set()
    told = KeyRevoked.model_validate_json((await events.next_msg(5)).data)
    assert (told.owner, told.data.key_id, told.data.reason) == (alice.id, key_id, "revoked")


async def test_a_revocation_that_cannot_be_read_stops_nothing(
    alice: Person, operator: Bus, connected: Callable[..., Awaitable[Outsider]], logged: list[Any]
) -> None:
    key_id, key = await key_of(alice)
    client = await connected(alice, key, allow_reconnect=False)
    await fact(operator, alice.id, KeyRevoked.type_name)
    await alice.http.delete(f"/apikeys/{key_id}")
    async with asyncio.timeout(KICKED_WITHIN):
        await client.ended.wait()
    assert [it["event"] for it in logged].count("events.revocation_unread") == 1
    assert "events.reader_failed" not in [it["event"] for it in logged]


async def test_a_client_that_comes_back_after_its_key_was_revoked_is_refused(
    alice: Person, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    key_id, key = await key_of(alice)
    client = await connected(alice, key)
    await alice.http.delete(f"/apikeys/{key_id}")

    async def told() -> bool:
        return any(VIOLATION in it for it in client.told)

    await until(told, within=10, every=0.02)
    assert not client.nc.is_connected


async def test_whichever_gateway_let_a_connection_in_any_of_them_ends_it(
    alice: Person,
    gateway: Gateway,
    connected: Callable[..., Awaitable[Outsider]],
    make_replica: Callable[..., Awaitable[Any]],
) -> None:
    key_id, key = await key_of(alice)
    client = await connected(alice, key, allow_reconnect=False)
    await make_replica()
    await gateway.identity.outsiders.close()  # who let it in is gone
    await alice.http.delete(f"/apikeys/{key_id}")
    async with asyncio.timeout(KICKED_WITHIN):
        await client.ended.wait()


async def test_a_deleted_user_loses_every_connection(
    alice: Person,
    make_person: Callable[..., Awaitable[Person]],
    operator: Bus,
    connected: Callable[..., Awaitable[Outsider]],
) -> None:
    admin = await make_person("admin")
    _, second = await key_of(alice)
    events = await operator.js.subscribe(subjects.events_of_type(KeyRevoked.type_name), stream=subjects.EVENTS)
    clients = [await connected(alice, allow_reconnect=False), await connected(alice, second, allow_reconnect=False)]
    assert (await admin.http.delete(f"/users/{alice.id}")).status_code == 200
    async with asyncio.timeout(KICKED_WITHIN):
        await asyncio.gather(*(it.ended.wait() for it in clients))
    told = [KeyRevoked.model_validate_json((await events.next_msg(5)).data).data for _ in clients]
    assert {it.key_id for it in told} == {it.access["key_id"] for it in clients}
    assert {it.reason for it in told} == {"user_deleted"}


async def test_a_key_that_expires_ends_its_connection_then(
    alice: Person,
    connected: Callable[..., Awaitable[Outsider]],
    operator: Bus,
    gateway: Gateway,
    engine: AsyncEngine,
) -> None:
    end = datetime.now(UTC) + timedelta(seconds=3)
    key_id, key = await key_of(alice, expires_at=end.isoformat())
    client = await connected(alice, key, allow_reconnect=False)
    live = await client.nc.subscribe(f"aperag.evt.{alice.id}.>")
    await client.nc.flush()
    await fact(operator, alice.id)
    assert await live.next_msg(2)
    async with asyncio.timeout(6):
        await client.ended.wait()
    assert end - timedelta(seconds=1.5) < datetime.now(UTC) < end + timedelta(seconds=2)

    async def passed() -> bool:
        return datetime.now(UTC) > end

    await until(passed, every=0.05)
    events = await operator.js.subscribe(subjects.events_of_type(KeyRevoked.type_name), stream=subjects.EVENTS)
    await gateway.identity.outsiders.end_expired()
    await gateway.identity.outsiders.end_expired()
    told = KeyRevoked.model_validate_json((await events.next_msg(5)).data)
    assert (told.data.key_id, told.data.reason) == (key_id, "expired")
    async with engine.connect() as conn:
        count = await conn.execute(text("SELECT count(*) FROM outbox WHERE payload ->> 'type' = 'key.revoked'"))
    assert count.scalar_one() == 1


async def test_a_sweep_ends_what_no_event_told_of(
    alice: Person, gateway: Gateway, engine: AsyncEngine, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    """As where a gateway was away while a key ended, or a person changed a row."""
    client = await connected(alice, allow_reconnect=False)
    await gateway.identity.outsiders.missed()
    assert not client.ended.is_set()
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE users SET is_active = false WHERE id = :id"), {"id": alice.id})
    await gateway.identity.outsiders.missed()
    async with asyncio.timeout(KICKED_WITHIN):
        await client.ended.wait()


async def test_sweeps_go_on_after_one_that_lost_the_database(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    outsiders = gateway.identity.outsiders
    await outsiders.close()
    swept: list[int] = []
    again = asyncio.Event()

    async def losing(_: AsyncEngine) -> Change:
        swept.append(1)
        if len(swept) == 1:
            raise asyncpg.InterfaceError("connection is closed")
        again.set()
        return Change()

    monkeypatch.setattr(ending, "expired", losing)
    monkeypatch.setattr(outsiders, "settings", outsiders.settings.model_copy(update={"sweep_every": timedelta(0)}))
    await outsiders.start()
    async with asyncio.timeout(5):
        await again.wait()
    await outsiders.close()


async def test_a_gateway_that_starts_ends_what_was_revoked_while_it_was_away(
    alice: Person,
    gateway: Gateway,
    engine: AsyncEngine,
    connected: Callable[..., Awaitable[Outsider]],
    make_replica: Callable[..., Awaitable[Any]],
) -> None:
    client = await connected(alice, allow_reconnect=False)
    await gateway.operations.feed.close()
    await gateway.identity.outsiders.close()
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE api_key SET deleted_at = now() WHERE owner = :id"), {"id": alice.id})
    await make_replica()
    async with asyncio.timeout(5):
        await client.ended.wait()


async def test_without_a_gateway_outsiders_are_refused_and_services_work_on(
    nats_server: NatsServer, identities: Identities, operator: Bus, alice: Person, gateway: Gateway
) -> None:
    await gateway.identity.outsiders.close()
    begun = time.monotonic()
    assert VIOLATION in await refused(nats_server, token=alice.key, connect_timeout=10)
    assert 1.5 < time.monotonic() - begun < 5
    async with AsyncExitStack() as stack:
        begun = time.monotonic()
        for service in Service:
            bus = await connect(identities.settings(service, nats_server.url), service=service, instance="t")
            stack.push_async_callback(bus.close)
        assert time.monotonic() - begun < 1.5
    assert await fact(operator, alice.id) == 1


async def test_an_outsider_comes_back_by_itself_after_server_and_gateway_were_away(
    nats_server: NatsServer, alice: Person, gateway: Gateway, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    client = await connected(alice, max_reconnect_attempts=-1, connect_timeout=5)
    await gateway.identity.outsiders.close()
    await asyncio.to_thread(nats_server.kill)
    await asyncio.to_thread(nats_server.start)

    async def told() -> bool:
        return any(VIOLATION in it for it in client.told)

    await until(told, within=20, every=0.05)
    await gateway.identity.outsiders.start()

    async def back() -> bool:
        return client.nc.is_connected

    await until(back, within=20, every=0.05)


async def test_where_outsiders_are_not_wanted_the_refusal_says_so(
    make_replica: Callable[..., Awaitable[Any]],
    gateway: Gateway,
    settings: Any,
    nats_server: NatsServer,
    alice: Person,
    logged: list[Any],
) -> None:
    await gateway.identity.outsiders.close()
    await make_replica(outside=settings.outside.model_copy(update={"enabled": False}))
    assert VIOLATION in await refused(nats_server, token=alice.key)
    assert any("APERAG_OUTSIDE__ENABLED" in it.get("reason", "") for it in logged)


async def test_a_hundred_clients_at_once_are_let_in(
    alice: Person, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    clients = await asyncio.gather(*(connected(alice) for _ in range(100)))
    assert all(it.nc.is_connected for it in clients)


async def test_while_the_database_is_away_the_refusal_says_so(
    nats_server: NatsServer, alice: Person, gateway: Gateway, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise ConnectionRefusedError

    keys = type(gateway.identity.outsiders.admission.keys)
    monkeypatch.setattr(keys, "find", away)
    assert VIOLATION in await refused(nats_server, token=alice.key)
    assert any("PostgreSQL does not answer" in it.get("reason", "") for it in logged)


async def test_a_login_is_no_way_to_ask_how_a_key_connects(alice: Person, make_visitor: Any) -> None:
    visitor = await make_visitor()
    assert (await visitor.get("/nats")).status_code == 401
    body = {"username": "bob", "email": "bob@example.org", "password": "a long password"}
    assert (await visitor.post("/register", json=body)).status_code == 200
    assert (await visitor.post("/login", json=body)).status_code == 200
    answer = await visitor.get("/nats")
    assert answer.status_code == 403
    assert "API key" in answer.json()["message"]
    assert alice.key not in answer.text
