"""What a killed worker held, and what a wiped store lost, goes on within seconds: nobody waits for a lease or a timer."""

from __future__ import annotations

import asyncio
import time
from signal import Signals
from typing import TYPE_CHECKING

import psutil
import pytest
from sqlalchemy import text

from aperag_testing.waiting import until

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.client import Client
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)

SECONDS = 25.0
"""Less than a lease lasts, though a process starts slowly beside busy neighbours: alone it takes a third of it."""
DOCUMENTS = 12
HELD = text("SELECT id FROM job WHERE collection_id = :collection AND lease_token IS NOT NULL")
HELD_BY_THE_DEAD = text(
    """
    SELECT count(*) FROM job WHERE id = ANY(:ids) AND attempt < 2
        AND status IN ('PENDING', 'CREATING', 'DELETING', 'DELETION_IN_PROGRESS')
    """
)
OPEN = text("SELECT count(*) FROM document WHERE collection_id = :collection AND status <> 'COMPLETE'")


async def upload(client: Client, count: int = DOCUMENTS) -> str:
    collection = await client.collection()
    bodies = {f"{number}.txt": f"Document {number} tells of ebb and flow. ".encode() * 400 for number in range(count)}
    await asyncio.gather(*(client.upload_patiently(collection, *body) for body in bodies.items()))
    return collection


async def test_what_a_killed_worker_held_is_claimed_again_at_once(
    stack: Stack, client: Client, rows: AsyncEngine
) -> None:
    indexer = psutil.Process(int(stack.unit("indexer")["pid"]))
    indexer.send_signal(Signals.SIGSTOP)
    try:
        collection = await upload(client)
    finally:
        indexer.send_signal(Signals.SIGCONT)
    held: list[str] = []

    async def stopped_with_work_in_hand() -> bool:
        """Standing still, it is known to hold leases when it dies."""
        indexer.send_signal(Signals.SIGSTOP)
        async with rows.connect() as conn:
            held[:] = (await conn.execute(HELD, {"collection": collection})).scalars()
        if not held:
            indexer.send_signal(Signals.SIGCONT)
        return bool(held)

    await until(stopped_with_work_in_hand, within=60, every=0.005)
    begun = time.monotonic()
    indexer.send_signal(Signals.SIGKILL)

    async def taken_over() -> bool:
        async with rows.connect() as conn:
            return not (await conn.execute(HELD_BY_THE_DEAD, {"ids": held})).scalar_one()

    await until(taken_over, within=60, every=0.05)
    seconds = time.monotonic() - begun
    assert seconds < SECONDS
    await complete(rows, collection)


async def test_what_a_wiped_store_lost_is_sent_again_at_once(stack: Stack, client: Client, rows: AsyncEngine) -> None:
    indexer = psutil.Process(int(stack.unit("indexer")["pid"]))
    indexer.send_signal(Signals.SIGSTOP)
    try:
        collection = await upload(client)
        stack.wipe_jetstream()
    finally:
        indexer.send_signal(Signals.SIGCONT)
    begun = time.monotonic()
    await complete(rows, collection)
    assert time.monotonic() - begun < 2 * SECONDS, "less than the minute after which a lost command is due by itself"


async def complete(rows: AsyncEngine, collection: str) -> None:
    async def done() -> bool:
        async with rows.connect() as conn:
            return not (await conn.execute(OPEN, {"collection": collection})).scalar_one()

    await until(done, within=90)
