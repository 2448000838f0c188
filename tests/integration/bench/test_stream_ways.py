"""The rival within one process: its readers are told everything, so what the bench finds lost is lost elsewhere."""

from __future__ import annotations

import pytest
from bench.stream.load import Load
from bench.stream.ways import Queues, attempt, server

pytestmark = pytest.mark.timeout(120)


async def test_readers_of_the_queue_are_told_every_event_once() -> None:
    load = Load(turns=5, rate=20.0, seconds=0.5)
    async with server("queue") as (process, port):
        trial = await attempt(Queues(process, port), load)
    assert (trial.whole, trial.heard) == (5, 5 * load.events)
    assert 0 < trial.p50 <= trial.p99 <= trial.max
