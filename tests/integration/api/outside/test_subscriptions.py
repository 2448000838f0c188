"""Durable subscriptions: made over HTTP, read over NATS, there again after the store was lost."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from nats.js.errors import NotFoundError
from sqlalchemy import text
from tests.integration.api.outside.clients import fact, key_of, make_streams

from aperag_api.operations.subscriptions.consumers import Consumers
from aperag_common import errors, subjects
from aperag_common.bus import accounts
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine
    from tests.integration.api.outside.clients import Outsider, Person

    from aperag_api.edge.gateway import Gateway
    from aperag_common.bus.connection import Bus
    from aperag_standalone.nats import NatsServer


async def made(person: Person, name: str = "mine", **body: Any) -> dict[str, Any]:
    answer = await person.http.post("/subscriptions", json={"name": name, **body})
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def pulled(client: Outsider, subscription: dict[str, Any], count: int) -> list[str]:
    """The types of the next events, acknowledged."""
    pull = await client.nc.jetstream().pull_subscribe_bind(subscription["consumer"], subscription["stream"])
    messages = await pull.fetch(count, timeout=5)
    for message in messages:
        await message.ack_sync(timeout=5)
    await pull.unsubscribe()
    return [message.subject.split(".", 3)[3] for message in messages]


async def test_a_subscription_begins_now_and_brings_every_later_event_once(
    alice: Person, mallory: Person, operator: Bus, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    await fact(operator, alice.id, "document.uploaded")
    subscription = await made(alice)
    assert subscription["consumer"] == f"sub-{subscription['id']}"
    assert subscription["stream"] == subjects.EVENTS
    assert subscription["filter_subjects"] == [f"aperag.evt.{alice.id}.>"]
    assert subscription["start"] == {"sequence": 2, "time": None}
    for owner, type_ in ((alice.id, "document.parsed"), (mallory.id, "document.parsed"), (alice.id, "index.activated")):
        await fact(operator, owner, type_)
    client = await connected(alice)
    assert await pulled(client, subscription, 2) == ["document.parsed", "index.activated"]
    await client.nc.close()
    await fact(operator, alice.id, "document.indexed")
    again = await connected(alice)
    assert await pulled(again, subscription, 1) == ["document.indexed"]


async def test_it_begins_at_a_sequence_or_at_a_time(
    alice: Person, operator: Bus, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    await fact(operator, alice.id, "document.uploaded")
    second = await fact(operator, alice.id, "document.parsed")
    between = datetime.now(UTC).isoformat()
    await fact(operator, alice.id, "document.indexed")
    by_sequence = await made(alice, "sequence", start={"sequence": second})
    by_time = await made(alice, "time", start={"time": between})
    client = await connected(alice)
    assert await pulled(client, by_sequence, 2) == ["document.parsed", "document.indexed"]
    assert await pulled(client, by_time, 1) == ["document.indexed"]


async def test_types_choose_single_facts_and_whole_aggregates(
    alice: Person, operator: Bus, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    wanted = ["document.*", "document.indexed", "index.failed"]
    subscription = await made(alice, types=wanted)
    assert subscription["types"] == sorted(wanted)
    for type_ in ("index.activated", "document.indexed", "index.failed", "collection.deleted", "document.deleted"):
        await fact(operator, alice.id, type_)
    state = (await alice.http.get(f"/subscriptions/{subscription['id']}")).json()
    assert (state["pending"], state["ack_pending"]) == (3, 0)
    client = await connected(alice)
    assert await pulled(client, subscription, 3) == ["document.indexed", "index.failed", "document.deleted"]
    state = (await alice.http.get(f"/subscriptions/{subscription['id']}")).json()
    assert (state["pending"], state["ack_pending"]) == (0, 0)
    assert state["last_acknowledged"] is not None


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"name": ""}, 400, "name"),
        ({"name": "x", "types": []}, 400, "types"),
        ({"name": "x", "types": ["documents.*"]}, 400, "documents.*"),
        ({"name": "x", "types": ["document.>"]}, 400, "types"),
        ({"name": "x", "types": ["*.indexed"]}, 400, "types"),
        ({"name": "x", "types": ["document.*.x"]}, 400, "types"),
        ({"name": "x", "start": "yesterday"}, 400, "start"),
        ({"name": "x", "start": {"sequence": 0}}, 400, "sequence"),
        ({"name": "x", "start": {"time": "2026-01-01T00:00:00"}}, 400, "time"),
        ({"name": "x", "all_owners": True}, 403, "administrator"),
    ],
    ids=str,
)
async def test_what_cannot_be_subscribed_to_is_named(
    alice: Person, body: dict[str, Any], status: int, told: str
) -> None:
    answer = await alice.http.post("/subscriptions", json=body)
    assert answer.status_code in {status, 422 if status == 400 else status}
    assert told in answer.text
    assert (await alice.http.get("/subscriptions")).json()["items"] == []


async def test_a_name_is_taken_once_and_there_is_a_limit(alice: Person, mallory: Person, gateway: Gateway) -> None:
    await made(alice)
    again = await alice.http.post("/subscriptions", json={"name": "mine"})
    assert (again.status_code, again.json()["error_code"]) == (409, "CONFLICT")
    most = gateway.operations.subscriptions.most
    names = [f"s{number}" for number in range(most + 2)]
    answers = await asyncio.gather(*(alice.http.post("/subscriptions", json={"name": it}) for it in names))
    assert sorted(it.status_code for it in answers) == [201] * (most - 1) + [403] * 3
    refused = next(it for it in answers if it.status_code == 403)
    assert refused.json()["error_code"] == "SUBSCRIPTION_LIMIT_REACHED"
    assert str(most) in refused.json()["message"]
    await made(mallory)


async def test_nobody_sees_or_deletes_anothers(alice: Person, mallory: Person) -> None:
    subscription = await made(alice)
    for method in ("GET", "DELETE"):
        assert (await mallory.http.request(method, f"/subscriptions/{subscription['id']}")).status_code == 404
    assert (await mallory.http.get("/subscriptions")).json()["items"] == []
    assert [it["id"] for it in (await alice.http.get("/subscriptions")).json()["items"]] == [subscription["id"]]


async def test_a_read_only_key_lists_and_shows_but_makes_and_deletes_none(alice: Person) -> None:
    subscription = await made(alice)
    _, key = await key_of(alice, scope="read")
    headers = {"Authorization": f"Bearer {key}"}
    assert (await alice.http.get(f"/subscriptions/{subscription['id']}", headers=headers)).status_code == 200
    assert (await alice.http.post("/subscriptions", json={"name": "x"}, headers=headers)).status_code == 403
    answer = await alice.http.delete(f"/subscriptions/{subscription['id']}", headers=headers)
    assert answer.status_code == 403


async def test_a_deleted_subscription_takes_its_consumer_along(alice: Person, operator: Bus) -> None:
    subscription = await made(alice)
    assert await operator.js.consumer_info(subjects.EVENTS, subscription["consumer"])
    assert (await alice.http.delete(f"/subscriptions/{subscription['id']}")).status_code == 204
    with pytest.raises(NotFoundError):
        await operator.js.consumer_info(subjects.EVENTS, subscription["consumer"])
    assert (await alice.http.delete(f"/subscriptions/{subscription['id']}")).status_code == 404


async def test_an_administrator_reads_all_owners_durably_while_they_are_one(
    make_person: Callable[..., Awaitable[Person]],
    alice: Person,
    operator: Bus,
    engine: AsyncEngine,
    connected: Callable[..., Awaitable[Outsider]],
) -> None:
    admin = await make_person("admin")
    subscription = await made(admin, all_owners=True, types=["document.*"])
    assert subscription["filter_subjects"] == ["aperag.evt.*.document.*"]
    await fact(operator, alice.id, "document.indexed")
    assert await pulled(await connected(admin), subscription, 1) == ["document.indexed"]
    logged = (await admin.http.get("/audit-logs", params={"resource_type": "event_subscription"})).json()["items"]
    assert [(it["user_id"], json.loads(it["request_data"])["body"]["all_owners"]) for it in logged] == [
        (admin.id, True)
    ]
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE users SET role = 'rw' WHERE id = :id"), {"id": admin.id})
    demoted = await connected(admin)
    assert not [it for it in demoted.access["publish"] if subscription["consumer"] in it]
    assert not await demoted.answers(f"$JS.API.CONSUMER.INFO.{subjects.EVENTS}.{subscription['consumer']}")


async def test_consumers_are_there_again_after_the_store_was_lost(
    nats_server: NatsServer,
    alice: Person,
    operator: Bus,
    gateway: Gateway,
    connected: Callable[..., Awaitable[Outsider]],
) -> None:
    subscription = await made(alice, types=["document.*"])
    await fact(operator, alice.id, "document.indexed")
    await asyncio.to_thread(nats_server.kill)
    shutil.rmtree(nats_server.store)
    await asyncio.to_thread(nats_server.start)

    async def streams() -> bool:
        if not operator.connected:
            return False
        await make_streams(operator)
        return True

    await until(streams, every=0.05)
    # What was kept comes again, in a stream whose sequences begin anew: none of it may be missed.
    await fact(operator, alice.id, "document.indexed")

    async def there() -> bool:
        names = {it.name for it in await operator.js.consumers_info(subjects.EVENTS)}
        return subscription["consumer"] in names

    await until(there, every=0.05)
    await fact(operator, alice.id, "document.deleted")
    client = await connected(alice)
    assert await pulled(client, subscription, 2) == ["document.indexed", "document.deleted"]
    assert gateway is not None


async def test_a_lost_consumer_begins_where_its_subscription_did_and_orphans_go(
    alice: Person, operator: Bus, gateway: Gateway, engine: AsyncEngine, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    await fact(operator, alice.id, "document.uploaded")
    kept, deleted = await made(alice, "kept"), await made(alice, "deleted")
    await fact(operator, alice.id, "document.parsed")
    await operator.js.delete_consumer(subjects.EVENTS, kept["consumer"])
    async with engine.begin() as conn:  # as the purge of a user does, by its cascade
        await conn.execute(text("DELETE FROM event_subscription WHERE id = :id"), {"id": deleted["id"]})
    await gateway.operations.subscription_keeper.repair()
    names = {it.name for it in await operator.js.consumers_info(subjects.EVENTS)}
    assert {it for it in names if accounts.subscription_of(it) is not None} == {kept["consumer"]}
    assert names - {kept["consumer"]}, "the gateway's own reader stays"
    assert await pulled(await connected(alice), kept, 1) == ["document.parsed"]


async def test_a_subscription_made_while_its_consumer_cannot_be_is_repaired(
    alice: Person, operator: Bus, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise errors.UpstreamUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Consumers, "make", away)
        subscription = await made(alice)
    state = (await alice.http.get(f"/subscriptions/{subscription['id']}")).json()
    assert state["pending"] is None
    await fact(operator, alice.id)
    await gateway.operations.subscription_keeper.repair()
    state = (await alice.http.get(f"/subscriptions/{subscription['id']}")).json()
    assert state["pending"] == 1


async def test_a_subscription_goes_with_its_user(
    alice: Person, engine: AsyncEngine, operator: Bus, gateway: Gateway
) -> None:
    subscription = await made(alice)
    async with engine.begin() as conn:
        await conn.execute(text("DELETE FROM users WHERE id = :id"), {"id": alice.id})
    await gateway.operations.subscription_keeper.repair()
    with pytest.raises(NotFoundError):
        await operator.js.consumer_info(subjects.EVENTS, subscription["consumer"])
