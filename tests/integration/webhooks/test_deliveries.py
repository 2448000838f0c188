"""What becomes of an event: sent once and signed, tried again on a schedule, given up, the endpoint disabled."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.integration.webhooks.conftest import LOOPBACK, STATUSES, fact, made, move_clock

from aperag_common import ids
from aperag_common.events import facts
from aperag_common.events.fact import DeadLetterData
from aperag_common.jobs.declared import WEBHOOK_SCHEDULE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integration.api.conftest import Person
    from tests.integration.webhooks.conftest import Events, Receiver, Reconciler, Rows, WebhookProcess

pytestmark = pytest.mark.parametrize("settings", [LOOPBACK], indirect=True)

MOVED = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/elsewhere\r\ncontent-length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 2000\r\n\r\n" + b"tea " * 500


async def test_an_event_arrives_once_signed_and_as_it_is_on_nats(
    alice: Person, receiver: Receiver, service: WebhookProcess, events: Events, rows: Rows
) -> None:
    webhook = await made(alice, receiver.url, types=["document.*"])
    async with service.running():
        [event_id] = await events.tell(fact(alice.id))
        [got] = await receiver.until_got(1)
        await rows.until_all(STATUSES, ["delivered"])
    assert got.verified_by(webhook["secret"])
    assert not got.verified_by("whsec_" + "A" * 44)
    assert got.id == ids.delivery_id(webhook["id"], event_id)
    assert got.headers["content-type"] == "application/cloudevents+json"
    [(payload,)] = await rows.all("SELECT payload::text FROM outbox")
    assert got.event == json.loads(payload)
    answer = (await alice.http.get(f"/webhooks/{webhook['id']}/deliveries/{got.id}")).json()
    assert (answer["status"], answer["attempts"], answer["payload"]) == ("delivered", 1, got.event)
    assert (answer["last"]["status"], answer["last"]["code"]) == (204, None)


async def test_an_event_that_comes_again_is_not_delivered_again(
    alice: Person, receiver: Receiver, service: WebhookProcess, events: Events, rows: Rows
) -> None:
    await made(alice, receiver.url)
    told = fact(alice.id)
    async with service.running():
        await events.tell(told)
        await rows.until_all(STATUSES, ["delivered"])
        # As after a wipe of the stream: the same event, in a stream that does not know it.
        await service.bus.js.publish(f"aperag.evt.{alice.id}.document.uploaded", told.encode())
        await events.tell(fact(alice.id))
        await rows.until_all(STATUSES, ["delivered", "delivered"])
    assert len(receiver.got) == 2


async def test_filters_and_owners_decide_what_is_sent(
    alice: Person,
    make_person: Callable[..., Awaitable[Person]],
    receiver: Receiver,
    service: WebhookProcess,
    events: Events,
    rows: Rows,
) -> None:
    bob = await make_person()
    collection = await alice.collection()
    await made(alice, receiver.url, types=["document.uploaded"], collection_ids=[collection])
    dead = facts.StepDeadLettered(
        source="tests",
        type=facts.StepDeadLettered.type_name,
        subject="d",
        owner=alice.id,
        data=DeadLetterData(
            dead_letter_id="d", consumer="webhooks-deliver", row_id=None, document_id=None, code="X", message=""
        ),
    )
    # Not of every type: that the collection was created may have been published a moment ago.
    everything = await made(alice, receiver.url, types=["document.*", "step.*"])
    async with service.running():
        await events.tell(
            fact(bob.id, collection_id=collection),
            dead,
            fact(alice.id, collection_id=collection, kind=facts.DocumentDeleted),
            fact(alice.id, collection_id=collection),
            fact(alice.id),
        )
        await rows.until_all("SELECT count(*) FROM webhook_delivery WHERE status = 'delivered'", [4])
    found = await rows.all(
        "SELECT event_type, endpoint_id = :all FROM webhook_delivery ORDER BY 1, 2", all=everything["id"]
    )
    assert [tuple(it) for it in found] == [
        ("document.deleted", True),
        ("document.uploaded", False),
        ("document.uploaded", True),
        ("document.uploaded", True),
    ]


async def test_what_happened_before_there_was_the_webhook_is_not_sent(
    alice: Person, receiver: Receiver, service: WebhookProcess, events: Events, rows: Rows
) -> None:
    old = fact(alice.id).model_copy(update={"time": fact(alice.id).time - timedelta(minutes=1)})
    await events.tell(old)
    await made(alice, receiver.url)
    async with service.running():
        [new] = await events.tell(fact(alice.id))
        await rows.until_all(STATUSES, ["delivered"])
    assert [got.event["id"] for got in receiver.got] == [new]


async def test_a_failure_is_tried_again_on_schedule_until_it_succeeds(
    alice: Person,
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    reconciler: Reconciler,
    rows: Rows,
) -> None:
    receiver = await make_receiver(BUSY, MOVED, 204)
    webhook = await made(alice, receiver.url)
    async with service.running():
        await events.tell(fact(alice.id))
        for failures, delay in enumerate(WEBHOOK_SCHEDULE[:2], start=1):
            await rows.until_all("SELECT failures FROM job WHERE lease_token IS NULL", [failures])
            [(due,)] = await rows.all("SELECT due_at - clock_timestamp() FROM job")
            assert delay - timedelta(seconds=3) < due <= delay * 1.2
            assert await reconciler.run() == 0
            await move_clock(rows, delay * 1.2)
            assert await reconciler.run() == 1
        await rows.until_all(STATUSES, ["delivered"])
    assert len({got.id for got in receiver.got}) == 1
    assert len(receiver.got) == 3
    delivery = (await alice.http.get(f"/webhooks/{webhook['id']}/deliveries/{receiver.got[0].id}")).json()
    log = [(it["attempt"], it["status"], it["code"]) for it in delivery["log"]]
    assert log == [(1, 503, "RECEIVER_FAILED"), (2, None, "REDIRECTED"), (3, 204, None)]
    assert delivery["log"][0]["response"] == ("tea " * 256)
    assert await rows.all("SELECT id FROM webhook_endpoint WHERE failing_since IS NOT NULL") == []
    assert await rows.all("SELECT id FROM dead_letter") == []


async def test_the_schedule_ends_and_a_redelivery_keeps_the_id(
    alice: Person,
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    reconciler: Reconciler,
    rows: Rows,
) -> None:
    receiver = await make_receiver(500)
    webhook = await made(alice, receiver.url)
    async with service.running():
        await events.tell(fact(alice.id))
        for failures in range(1, 8):
            await rows.until_all("SELECT failures FROM job WHERE lease_token IS NULL", [failures])
            await rows.change("UPDATE job SET due_at = clock_timestamp()")
            assert await reconciler.run() == 1
        await rows.until_all(STATUSES, ["failed"])
        assert len(receiver.got) == 8
        assert [row[0] for row in await rows.all("SELECT status FROM job")] == ["ACTIVE"]
        receiver.answers = [200]
        path = f"/webhooks/{webhook['id']}/deliveries"
        [delivery] = (await alice.http.get(path, params={"status": "failed"})).json()["items"]
        again = await alice.http.post(f"{path}/{delivery['id']}/redeliver")
        assert (again.status_code, again.json()) == (202, {"delivery_id": delivery["id"]})
        await rows.until_all(STATUSES, ["delivered"])
    assert {got.id for got in receiver.got} == {delivery["id"]}


async def test_410_disables_the_endpoint_at_once(
    alice: Person,
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    rows: Rows,
    reconciler: Reconciler,
) -> None:
    receiver = await make_receiver(410, 204)
    webhook = await made(alice, receiver.url)
    path = f"/webhooks/{webhook['id']}"
    async with service.running():
        await events.tell(fact(alice.id))
        await rows.until_all(STATUSES, ["failed"])
        await rows.until_all(
            "SELECT subject FROM outbox WHERE subject LIKE '%webhook%'", [f"aperag.evt.{alice.id}.webhook.disabled"]
        )
        told = (await alice.http.get(path)).json()
        assert (told["enabled"], told["disabled_reason"]) == (False, "gone")
        await events.tell(fact(alice.id))
        assert (await alice.http.post(f"{path}/test")).status_code == 409
        assert (await alice.http.post(f"{path}/enable")).json()["enabled"]
        # What happened meanwhile comes with a replay, and what had failed comes under its old id.
        since = "2020-01-01T00:00:00Z"
        replayed = await alice.http.post(f"{path}/replay", json={"since": since})
        assert replayed.status_code == 202, replayed.text
        assert replayed.json() == {"deliveries": 2, "added": 1}
        await reconciler.run()
        await rows.until_all(STATUSES, ["delivered", "delivered"])
    assert [got.id for got in receiver.got].count(receiver.got[0].id) == 2
    assert len(receiver.got) == 3


async def test_an_owner_stops_a_webhook_and_lets_it_go_on(
    alice: Person, receiver: Receiver, service: WebhookProcess, events: Events, rows: Rows
) -> None:
    webhook = await made(alice, receiver.url)
    path = f"/webhooks/{webhook['id']}"
    for _ in range(2):
        told = (await alice.http.post(f"{path}/disable")).json()
        assert (told["enabled"], told["disabled_reason"]) == (False, "owner")
    async with service.running():
        await events.tell(fact(alice.id))
        assert (await alice.http.post(f"{path}/test")).status_code == 409
        assert (await alice.http.post(f"{path}/enable")).json()["disabled_reason"] is None
        sent = (await alice.http.post(f"{path}/test")).json()["delivery_id"]
        await rows.until_all(STATUSES, ["delivered"])
    assert [got.id for got in receiver.got] == [sent]


async def test_an_endpoint_where_nothing_arrived_for_five_days_is_disabled(
    alice: Person,
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    reconciler: Reconciler,
    rows: Rows,
) -> None:
    receiver = await make_receiver(500)
    webhook = await made(alice, receiver.url)
    async with service.running():
        await events.tell(fact(alice.id))
        await rows.until_all("SELECT failures FROM job WHERE lease_token IS NULL", [1])
        await move_clock(rows, timedelta(days=4, hours=23))
        await reconciler.run()
        await rows.until_all("SELECT failures FROM job WHERE lease_token IS NULL", [2])
        assert (await alice.http.get(f"/webhooks/{webhook['id']}")).json()["enabled"]
        await move_clock(rows, timedelta(hours=2))
        await reconciler.run()
        await rows.until_all(STATUSES, ["failed"])
    told = (await alice.http.get(f"/webhooks/{webhook['id']}")).json()
    assert (told["enabled"], told["disabled_reason"]) == (False, "failing")
    [(data,)] = await rows.all("SELECT payload -> 'data' FROM outbox WHERE subject LIKE '%webhook.disabled'")
    assert (data["webhook_id"], data["reason"]) == (webhook["id"], "failing")


async def test_a_receiver_that_does_not_answer_in_time_has_failed(
    alice: Person,
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    rows: Rows,
) -> None:
    receiver = await make_receiver(None)
    webhook = await made(alice, receiver.url)
    async with service.running(answer_within=timedelta(milliseconds=200)):
        await events.tell(fact(alice.id))
        await rows.until_all("SELECT failures FROM job WHERE lease_token IS NULL", [1])
    [delivery] = (await alice.http.get(f"/webhooks/{webhook['id']}/deliveries")).json()["items"]
    assert (delivery["status"], delivery["last"]["code"]) == ("pending", "TIMEOUT")
    assert delivery["next_attempt_at"] is not None


async def test_during_a_rotation_both_secrets_verify(
    alice: Person, receiver: Receiver, service: WebhookProcess, events: Events, rows: Rows
) -> None:
    webhook = await made(alice, receiver.url)
    rotated = (await alice.http.post(f"/webhooks/{webhook['id']}/rotate")).json()
    assert rotated["secret"] != webhook["secret"]
    async with service.running():
        await events.tell(fact(alice.id))
        await receiver.until_got(1)
        await rows.until_all(STATUSES, ["delivered"])
        await rows.change("UPDATE webhook_endpoint SET previous_until = clock_timestamp()")
        await events.tell(fact(alice.id))
        [first, second] = await receiver.until_got(2)
    assert first.verified_by(webhook["secret"])
    assert first.verified_by(rotated["secret"])
    assert second.verified_by(rotated["secret"])
    assert not second.verified_by(webhook["secret"])


async def test_a_test_event_is_sent_and_told_nobody_else(
    alice: Person, receiver: Receiver, service: WebhookProcess, rows: Rows
) -> None:
    webhook = await made(alice, receiver.url, types=["document.deleted"])
    async with service.running():
        answer = await alice.http.post(f"/webhooks/{webhook['id']}/test")
        assert answer.status_code == 202
        [got] = await receiver.until_got(1)
        await rows.until_all(STATUSES, ["delivered"])
    assert got.id == answer.json()["delivery_id"]
    assert (got.event["type"], got.event["data"]) == ("webhook.test", {"webhook_id": webhook["id"]})
    assert got.event["specversion"] == "1.0"
    assert "causeid" in got.event
    assert await rows.all("SELECT id FROM outbox") == []


async def test_a_private_address_is_refused_at_delivery_too(
    alice: Person, receiver: Receiver, service: WebhookProcess, events: Events, rows: Rows
) -> None:
    """As where a name leads elsewhere by then, or settings have changed."""
    webhook = await made(alice, receiver.url)
    async with service.running(outbound={}):
        await events.tell(fact(alice.id))
        await rows.until_all("SELECT failures FROM job WHERE lease_token IS NULL", [1])
    assert receiver.got == []
    [delivery] = (await alice.http.get(f"/webhooks/{webhook['id']}/deliveries")).json()["items"]
    assert delivery["last"]["code"] == "BLOCKED_ADDRESS"
    assert "not on the public internet" in delivery["last"]["message"]
