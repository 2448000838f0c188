"""Services whose connections break, fall silent or cannot be made: nothing is lost, nothing is done twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aperag_testing.proxy import Way

if TYPE_CHECKING:
    from aperag_testing.client import Client
    from aperag_testing.proxy import FaultProxy

System = Any
Shelf = Any

pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
async def test_connections_that_are_cut_again_and_again_cost_nothing(system: System, shelf: Shelf) -> None:
    for round_ in range(6):
        await shelf.add(2)
        proxy: FaultProxy = (system.nats, system.postgres)[round_ % 2]
        proxy.cut()
    await shelf.kept()


@pytest.mark.long
async def test_connections_that_break_in_the_middle_of_an_answer_cost_nothing(system: System, shelf: Shelf) -> None:
    """Also of a COMMIT's answer: whether it was done is then unknown to whoever asked."""
    for round_, way in enumerate((Way.THERE, Way.BACK) * 3):
        system.postgres.cut_after(700 * (round_ + 1), way)
        system.nats.cut_after(300 * (round_ + 1), way)
        await shelf.add(2)
    system.postgres.heal()
    system.nats.heal()
    await shelf.kept()


@pytest.mark.long
async def test_while_nats_is_away_documents_are_accepted_and_found_and_afterwards_indexed(
    system: System, shelf: Shelf, client: Client
) -> None:
    await shelf.add(1)
    await shelf.complete()
    system.nats.refuse()
    await system.not_ready("indexer")
    await shelf.add(5)
    assert [hit["source"] for hit in await client.search(shelf.collection, "q00000x", legs=["fulltext"])] == [
        "log-000.txt"
    ]
    system.nats.heal()
    await shelf.kept()


@pytest.mark.long
async def test_while_postgresql_is_away_uploads_are_refused_with_the_reason_and_nothing_is_lost(
    system: System, shelf: Shelf
) -> None:
    await shelf.add(3)
    system.postgres.refuse()
    await system.not_ready("indexer")
    parts = [("files", ("late.txt", b"late", "text/plain"))]
    answer = await shelf.client.http.post(f"/collections/{shelf.collection}/documents", files=parts)
    assert (answer.status_code, answer.json()["error_code"]) == (500, "DATABASE_ERROR")
    system.postgres.heal()
    await shelf.add(1)
    await shelf.kept()


@pytest.mark.long
async def test_a_half_open_connection_to_nats_is_noticed_and_made_again(system: System, shelf: Shelf) -> None:
    """Nobody is told of such an end: it shows by what does not come."""
    await shelf.add(1)
    await shelf.complete()
    system.nats.silence()
    await shelf.add(3)
    await system.not_ready("indexer")
    system.nats.heal()
    await shelf.kept()


async def test_acks_that_get_lost_on_their_way_make_nothing_be_done_twice(system: System, shelf: Shelf) -> None:
    """Half open in one direction: messages and answers come, but nothing that is said reaches NATS."""
    await shelf.add(3)
    system.nats.silence(Way.THERE)
    await shelf.add(3)
    await system.not_ready("indexer")
    system.nats.heal()
    await shelf.kept()


@pytest.mark.long
async def test_a_half_open_connection_to_postgresql_is_noticed_and_made_again(system: System, shelf: Shelf) -> None:
    await shelf.add(3)
    system.postgres.silence(Way.BACK)
    await system.not_ready("indexer")
    system.postgres.heal()
    await shelf.add(3)
    await shelf.kept()


@pytest.mark.long
async def test_slow_connections_make_work_slow_and_nothing_else(system: System, shelf: Shelf) -> None:
    system.postgres.delay(0.02)
    system.nats.throttle(20_000)
    await shelf.add(4)
    await shelf.complete()
    system.postgres.heal()
    system.nats.heal()
    await shelf.kept()
