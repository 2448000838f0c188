"""What a key may do at NATS, and what it may not: the server itself refuses it, and stores nothing of an attack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError
from tests.integration.api.outside.clients import INGEST, all_refused, fact, key_of, spoken, stored

from aperag_common import subjects
from aperag_common.bus import accounts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integration.api.outside.clients import Outsider, Person

    from aperag_common.bus.connection import Bus

Connect = "Callable[..., Awaitable[Outsider]]"

COLLECTION = "col0123456789abcdef"
JS = "$JS.API"


async def subscription(person: Person, **body: Any) -> dict[str, Any]:
    answer = await person.http.post("/subscriptions", json={"name": "everything", **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_key_publishes_reads_live_and_pulls(
    alice: Person, operator: Bus, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    made = await subscription(alice, start={"sequence": 1})
    client = await connected(alice)
    live = await client.nc.subscribe(f"aperag.evt.{client.owner}.>")
    await client.nc.flush()

    await fact(operator, client.owner)
    assert (await live.next_msg(5)).subject == f"aperag.evt.{client.owner}.document.indexed"

    js = client.nc.jetstream()
    pull = await js.pull_subscribe_bind(made["consumer"], made["stream"])
    [message] = await pull.fetch(1, timeout=5)
    assert message.subject == f"aperag.evt.{client.owner}.document.indexed"
    await message.ack_sync(timeout=5)
    info = await js.consumer_info(made["stream"], made["consumer"])
    assert (info.num_pending, info.num_ack_pending) == (0, 0)

    ack = await js.publish(f"aperag.ingest.{client.owner}.{COLLECTION}", b"{}", timeout=5)
    assert (ack.stream, ack.seq) == (INGEST, 1)
    assert client.told == []


async def test_the_answer_to_get_nats_is_what_the_server_allows(
    alice: Person, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    made = await subscription(alice)
    client = await connected(alice)
    assert client.access["enabled"] is True
    assert client.access["inbox_prefix"] == f"_INBOX_{client.access['key_id']}"
    assert client.access["publish"] == [
        f"aperag.ingest.{alice.id}.*",
        *accounts.pulls_from(made["consumer"]),
    ]
    assert client.access["subscribe"] == [f"_INBOX_{client.access['key_id']}.>", f"aperag.evt.{alice.id}.>"]


async def test_nothing_else_may_be_published(
    alice: Person, mallory: Person, connected: Callable[..., Awaitable[Outsider]], operator: Bus
) -> None:
    foreign = await subscription(mallory)
    client = await connected(alice)
    events, name = subjects.EVENTS, foreign["consumer"]
    refused = [
        f"aperag.ingest.{mallory.id}.{COLLECTION}",
        f"aperag.ingest.{alice.id}",
        f"aperag.ingest.{alice.id}.{COLLECTION}.more",
        f"aperag.ingest.{alice.id}-2.{COLLECTION}",
        f"aperag.evt.{alice.id}.document.indexed",
        subjects.PARSE_DOCUMENT,
        subjects.RUN_TURN,
        "aperag.tick.outbox",
        "aperag.live.wake.reconciler",
        f"aperag.live.task.{COLLECTION}.cancel",
        accounts.NOBODY,
        f"{JS}.INFO",
        f"{JS}.STREAM.INFO.{events}",
        f"{JS}.STREAM.PURGE.{events}",
        f"{JS}.STREAM.DELETE.{events}",
        f"{JS}.STREAM.MSG.GET.{events}",
        f"{JS}.DIRECT.GET.{events}",
        f"{JS}.STREAM.NAMES",
        f"{JS}.STREAM.CREATE.MINE",
        f"{JS}.CONSUMER.NAMES.{events}",
        f"{JS}.CONSUMER.CREATE.{events}",
        f"{JS}.CONSUMER.CREATE.{events}.mine",
        f"{JS}.CONSUMER.CREATE.{events}.mine.aperag.evt.{alice.id}.document.indexed",
        f"{JS}.CONSUMER.DURABLE.CREATE.{events}.mine",
        f"{JS}.CONSUMER.DELETE.{events}.{name}",
        f"{JS}.CONSUMER.MSG.NEXT.{events}.{name}",
        f"{JS}.CONSUMER.INFO.{events}.{name}",
        f"{JS}.CONSUMER.MSG.NEXT.{subjects.COMMANDS}.indexer-parse",
        f"$JS.ACK.{events}.{name}.1.1.1.1.0",
        accounts.CALLOUT,
        accounts.CONNECTIONS,
        "$SYS.REQ.SERVER.PING",
        accounts.kick("ABC"),
        f"_INBOX_{mallory.id}.x",
        "_INBOX_api.x",
        "elsewhere",
    ]
    for subject in refused:
        await client.nc.publish(subject, b"{}")
    assert await all_refused(client, "publish", refused) == []
    assert all(count == 0 for count in (await stored(operator)).values())


async def test_nothing_else_may_be_subscribed_to(
    alice: Person, mallory: Person, connected: Callable[..., Awaitable[Outsider]], operator: Bus
) -> None:
    client = await connected(alice)
    other = (await mallory.http.get("/nats")).json()
    refused = [
        ">",
        "*.>",
        "aperag.>",
        "aperag.*.>",
        "aperag.evt.>",
        "aperag.evt.*.>",
        "aperag.evt.*.document.indexed",
        f"aperag.*.{alice.id}.>",
        f"aperag.evt.{mallory.id}.>",
        f"aperag.evt.{mallory.id}.document.indexed",
        "aperag.cmd.>",
        "aperag.ingest.>",
        f"aperag.ingest.{alice.id}.*",
        "_INBOX.>",
        f"{other['inbox_prefix']}.>",
        "_INBOX_api.>",
        "$JS.>",
        "$SYS.>",
        "$SYS.REQ.USER.AUTH",
        "_R_.>",
    ]
    for subject in refused:
        await client.nc.subscribe(subject)
    assert await all_refused(client, "subscription", refused) == []
    # A queue group is no way around it.
    await client.nc.subscribe("aperag.evt.>", queue="mine")
    assert await all_refused(client, "subscription", [*refused, 'aperag.evt.>" using queue "mine']) == []
    heard = await client.nc.subscribe(f"aperag.evt.{alice.id}.document.*")
    await client.nc.flush()
    await fact(operator, mallory.id)
    await fact(operator, alice.id)
    assert (await heard.next_msg(5)).subject.split(".")[2] == alice.id


@pytest.mark.parametrize(
    "trick", ["aperag.evt.{owner}-*.>", "aperag.evt.{owner}*.>", "aperag.evt.*{owner}.>", "_INBOX*.>"]
)
async def test_a_star_within_a_token_is_no_way_to_others(alice: Person, trick: str) -> None:
    """Clients refuse to send it; whoever speaks the protocol himself is refused by the server."""
    subject = trick.format(owner=alice.id)
    access = (await alice.http.get("/nats")).json()
    told = await spoken(access["servers"][0], alice.key, f"SUB {subject} 1")
    assert "-ERR 'Permissions Violation for Subscription" in told


async def test_a_reply_subject_writes_into_no_stream(
    alice: Person, mallory: Person, connected: Callable[..., Awaitable[Outsider]], operator: Bus
) -> None:
    """In one account for all the server stored its acknowledgement of the publish where the reply subject pointed."""
    made = await subscription(alice, start={"sequence": 1})
    client = await connected(alice)
    await fact(operator, alice.id)
    targets = [subjects.PARSE_DOCUMENT, subjects.event(mallory.id, "document", "deleted"), subjects.RUN_TURN]
    asked = [f"aperag.ingest.{alice.id}.{COLLECTION}", *accounts.pulls_from(made["consumer"])[:2]]
    for target in targets:
        for subject in asked:
            await client.nc.publish(subject, b"" if ".INFO." in subject else b"1", reply=target)
    await client.nc.flush()
    # What was published is stored; what answers it is not.
    ack = await client.nc.jetstream().publish(f"aperag.ingest.{alice.id}.{COLLECTION}", b"{}", timeout=5)
    assert ack.seq == len(targets) + 1
    found = await stored(operator)
    assert (found[subjects.COMMANDS], found[subjects.TURNS]) == (0, 0)
    with pytest.raises(NotFoundError):
        await operator.js.get_last_msg(subjects.EVENTS, targets[1])


async def test_a_deliver_subject_is_no_way_into_a_stream(
    alice: Person, connected: Callable[..., Awaitable[Outsider]], operator: Bus
) -> None:
    client = await connected(alice)
    config = ConsumerConfig(name="push", deliver_subject=subjects.PARSE_DOCUMENT, ack_policy=AckPolicy.NONE)
    body = json.dumps({"stream_name": subjects.EVENTS, "config": config.as_dict()}).encode()
    for where in (f"CREATE.{subjects.EVENTS}.push", f"DURABLE.CREATE.{subjects.EVENTS}.push"):
        assert not await client.answers(f"{JS}.CONSUMER.{where}", body)
        assert await client.refused("publish", f"{JS}.CONSUMER.{where}")
    await fact(operator, alice.id)
    assert (await stored(operator))[subjects.COMMANDS] == 0
    assert await operator.js.consumers_info(subjects.EVENTS) is not None
    names = {it.name for it in await operator.js.consumers_info(subjects.EVENTS)}
    assert not {it for it in names if "push" in it}


async def test_the_inbox_of_clients_without_the_prefix_is_refused(
    alice: Person, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    client = await connected(alice, inbox_prefix="_INBOX")
    assert not await client.answers(f"aperag.ingest.{alice.id}.{COLLECTION}", b"{}")
    assert any('violation for subscription to "_inbox.' in it.lower() for it in client.told)


async def test_a_read_only_key_reads_and_publishes_nothing(
    alice: Person, operator: Bus, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    _, key = await key_of(alice, scope="read")
    client = await connected(alice, key)
    assert client.access["publish"] == []
    refused = [f"aperag.ingest.{alice.id}.{COLLECTION}", subjects.PARSE_DOCUMENT, "elsewhere"]
    for subject in refused:  # to the server an empty list of what is allowed would mean everything
        await client.nc.publish(subject, b"{}")
    assert await all_refused(client, "publish", refused) == []
    live = await client.nc.subscribe(f"aperag.evt.{alice.id}.>")
    await client.nc.flush()
    await fact(operator, alice.id)
    assert await live.next_msg(5)


async def test_a_read_only_key_pulls_from_its_owners_subscriptions(
    alice: Person, operator: Bus, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    made = await subscription(alice)
    _, key = await key_of(alice, scope="read")
    client = await connected(alice, key)
    await fact(operator, alice.id)
    pull = await client.nc.jetstream().pull_subscribe_bind(made["consumer"], made["stream"])
    assert len(await pull.fetch(1, timeout=5)) == 1


async def test_a_key_limited_to_collections_publishes_into_these_and_reads_no_events(
    alice: Any, connected: Callable[..., Awaitable[Outsider]], operator: Bus
) -> None:
    """An event's subject names no collection: the server could not keep others' events from it."""
    made = await subscription(alice)
    mine, other = await alice.collection(), await alice.collection()
    _, key = await key_of(alice, collection_ids=[mine])
    client = await connected(alice, key)
    ack = await client.nc.jetstream().publish(f"aperag.ingest.{alice.id}.{mine}", b"{}", timeout=5)
    assert ack.seq == 1
    refused = [f"aperag.ingest.{alice.id}.{other}", *accounts.pulls_from(made["consumer"])[:2]]
    for subject in refused:
        await client.nc.publish(subject, b"")
    assert await all_refused(client, "publish", refused) == []
    client.told.clear()
    await client.nc.subscribe(f"aperag.evt.{alice.id}.>")
    assert await all_refused(client, "subscription", [f"aperag.evt.{alice.id}.>"]) == []
    answer = await alice.http.post("/subscriptions", json={"name": "x"}, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    assert "limited to some collections" in answer.json()["message"]


@pytest.mark.parametrize("scope", ["all", "read"])
async def test_an_administrators_key_reads_all_owners_and_that_is_on_record(
    make_person: Callable[..., Awaitable[Person]],
    alice: Person,
    operator: Bus,
    connected: Callable[..., Awaitable[Outsider]],
    scope: str,
) -> None:
    admin = await make_person("admin")
    key_id, key = await key_of(admin, scope=scope)
    client = await connected(admin, key)
    live = await client.nc.subscribe("aperag.evt.>")
    await client.nc.flush()
    logged = (await admin.http.get("/audit-logs", params={"api_name": "connect_to_nats"})).json()["items"]
    if scope == "read":
        assert await client.refused("subscription", "aperag.evt.>")
        assert logged == []
        return
    await fact(operator, alice.id)
    assert (await live.next_msg(5)).subject == f"aperag.evt.{alice.id}.document.indexed"
    assert [(it["user_id"], it["resource_type"], json.loads(it["request_data"])["key_id"]) for it in logged] == [
        (admin.id, "event", key_id)
    ]


async def test_one_keys_answers_are_not_anothers(
    alice: Person, mallory: Person, connected: Callable[..., Awaitable[Outsider]]
) -> None:
    first, second = await connected(alice), await connected(mallory)
    await second.nc.subscribe(f"{first.access['inbox_prefix']}.>")
    assert await second.refused("subscription", f"{first.access['inbox_prefix']}.>")
    assert first.access["inbox_prefix"] != second.access["inbox_prefix"]
