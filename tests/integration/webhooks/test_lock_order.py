"""An attempt that ends while its delivery is sent again, or its endpoint deleted: one waits for the other, and both end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.webhooks.conftest import LOOPBACK, STATUSES, fact, made

from aperag_api.operations.webhooks import repository as endpoints
from aperag_testing.steps import Gate, until_blocked
from aperag_testing.waiting import until
from aperag_webhooks.sending import repository

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine
    from tests.integration.api.conftest import Person
    from tests.integration.webhooks.conftest import Events, Receiver, Rows, WebhookProcess

    from aperag_work.database import Connection

pytestmark = pytest.mark.parametrize("settings", [LOOPBACK], indirect=True)


@pytest.fixture(autouse=True)
def no_deadlock(logged: list[Any]) -> Iterator[None]:
    """Who is chosen to give way tries again, so that only the log tells."""
    yield
    assert [line for line in logged if "deadlock" in str(line).lower()] == []


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Where the first attempt stands that writes its end, in the middle of that transaction."""
    gate, settle = Gate(), repository.settle

    async def settled(conn: Connection, ended: Sequence[repository.Settled]) -> None:
        if not gate.reached.is_set():
            await gate()
        await settle(conn, ended)

    monkeypatch.setattr(repository, "settle", settled)
    return gate


async def test_a_delivery_is_sent_again_while_its_end_is_written(
    alice: Person,
    receiver: Receiver,
    service: WebhookProcess,
    events: Events,
    rows: Rows,
    engine: AsyncEngine,
    ending: Gate,
) -> None:
    webhook = await made(alice, receiver.url)
    async with service.running():
        await events.tell(fact(alice.id))
        await ending.until_reached()
        path = f"/webhooks/{webhook['id']}/deliveries/{receiver.got[0].id}/redeliver"
        again = asyncio.create_task(alice.http.post(path))
        await until_blocked(engine)
        ending.open()
        assert (await again).status_code == 202
        await receiver.until_got(2)
        await rows.until_all("SELECT jsonb_array_length(attempts) FROM webhook_delivery", [2])
        await rows.until_all(STATUSES, ["delivered"])


async def test_an_endpoint_is_deleted_while_the_end_of_its_delivery_is_written(
    alice: Person,
    receiver: Receiver,
    service: WebhookProcess,
    events: Events,
    rows: Rows,
    engine: AsyncEngine,
    ending: Gate,
) -> None:
    webhook = await made(alice, receiver.url)
    async with service.running():
        await events.tell(fact(alice.id))
        await ending.until_reached()
        deleting = asyncio.create_task(alice.http.delete(f"/webhooks/{webhook['id']}"))
        await until_blocked(engine)
        ending.open()
        assert (await deleting).is_success
    assert await rows.all("SELECT id FROM webhook_delivery UNION ALL SELECT id FROM job") == []


async def test_an_endpoint_is_deleted_while_a_failure_of_it_is_recorded(
    alice: Person,
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    rows: Rows,
    engine: AsyncEngine,
) -> None:
    failing = await make_receiver(None)
    webhook = await made(alice, failing.url)
    async with service.running():
        await events.tell(fact(alice.id))
        await failing.until_got(1)
        async with engine.begin() as conn:
            await endpoints.find(conn, alice.id, webhook["id"], lock=True)
            failing.answered.set()
            await until_blocked(engine)
            assert await endpoints.delete(conn, alice.id, webhook["id"])

        async def gone() -> bool:
            return await rows.all("SELECT id FROM webhook_delivery UNION ALL SELECT id FROM job") == []

        await until(gone, every=0.02)
