"""A process that dies at any moment loses no delivery; what it had sent comes again under the same id."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.webhooks.conftest import LOOPBACK, STATUSES, fact, made

from aperag_common import subjects
from aperag_testing.waiting import until
from aperag_work import deliveries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integration.api.conftest import Person
    from tests.integration.webhooks.conftest import Events, Receiver, Reconciler, Rows, WebhookProcess

pytestmark = pytest.mark.parametrize("settings", [LOOPBACK], indirect=True)


async def for_ever(*_: Any) -> None:
    await asyncio.Event().wait()


async def not_at_all(*_: Any) -> None:
    """What a dead process does."""


async def test_a_death_between_the_request_and_its_end_sends_a_double_with_the_same_id(
    alice: Person,
    receiver: Receiver,
    service: WebhookProcess,
    events: Events,
    reconciler: Reconciler,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    webhook = await made(alice, receiver.url)
    async with service.running() as engine:
        # The end of the attempt is never written, and its lease never given back.
        [handling] = engine._handlings.values()
        monkeypatch.setattr(type(handling), "complete", for_ever)
        monkeypatch.setattr(type(engine.claims), "give_back", not_at_all)
        await events.tell(fact(alice.id))
        await receiver.until_got(1)
        monkeypatch.undo()
        incarnation = engine.claims.incarnation
        # The supervisor tells the successor whose place it takes.
        async with service.running() as successor:
            assert await successor.release_predecessor(incarnation) == 1
            assert await reconciler.run() == 1
            await receiver.until_got(2)
            await rows.until_all(STATUSES, ["delivered"])
        for job in engine.held.values():
            job.task.cancel()  # else the stop would wait for it
    assert receiver.got[0].id == receiver.got[1].id
    assert all(got.verified_by(webhook["secret"]) for got in receiver.got)
    [(attempts,)] = await rows.all("SELECT failed_attempts FROM job")
    assert [it["code"] for it in attempts] == ["WORKER_LOST"]


async def test_an_event_whose_fan_out_failed_is_fanned_out_once(
    alice: Person,
    receiver: Receiver,
    service: WebhookProcess,
    events: Events,
    reconciler: Reconciler,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where the database goes away after the commit: the message comes again, the delivery is there already."""
    await made(alice, receiver.url)
    insert, calls = deliveries.insert, []

    async def torn(*arguments: Any, **options: Any) -> Any:
        calls.append(await insert(*arguments, **options))
        if len(calls) == 1:
            raise ConnectionResetError
        return calls[-1]

    monkeypatch.setattr(deliveries, "insert", torn)
    monkeypatch.setattr("aperag_webhooks.fanout.handlers.unexpected_delay", lambda _: timedelta(0))
    async with service.running():
        await events.tell(fact(alice.id))

        async def twice() -> bool:
            return len(calls) == 2

        await until(twice)
        assert [len(jobs) for jobs in calls] == [1, 0]
        assert await rows.all("SELECT count(*) FROM job") == [(1,)]
        # Its command was never published: it counts as lost, and is redriven.
        assert receiver.got == []
        await rows.change("UPDATE job SET due_at = clock_timestamp()")
        assert await reconciler.run() == 1
        await rows.until_all(STATUSES, ["delivered"])


async def test_an_event_that_is_none_is_acknowledged_and_told(
    alice: Person, receiver: Receiver, service: WebhookProcess, events: Events, rows: Rows, logged: list[Any]
) -> None:
    await made(alice, receiver.url)
    await service.bus.js.publish(f"aperag.evt.{alice.id}.document.uploaded", b"\xff no event")
    async with service.running():
        await events.tell(fact(alice.id))
        await rows.until_all(STATUSES, ["delivered"])

        async def settled() -> bool:
            info = await service.bus.js.consumer_info(subjects.EVENTS, "webhooks-events")
            return (info.num_pending, info.num_ack_pending) == (0, 0)

        await until(settled)
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["event.unreadable"]


async def test_deliveries_of_a_deleted_webhook_go_with_it(
    alice: Person,
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    rows: Rows,
) -> None:
    receiver = await make_receiver(500)
    webhook = await made(alice, receiver.url)
    async with service.running():
        await events.tell(fact(alice.id), fact(alice.id))
        await rows.until_all("SELECT failures FROM job WHERE lease_token IS NULL", [1, 1])
        assert (await alice.http.delete(f"/webhooks/{webhook['id']}")).status_code == 204
    assert await rows.all("SELECT id FROM webhook_delivery") == []
    assert await rows.all("SELECT id FROM job") == []
