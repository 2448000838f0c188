"""What the bench of streams says and hears: every event once, in order, with the moment at which it was due."""

from __future__ import annotations

import json
import time

import pytest
from bench.stream.load import Load, speak
from bench.stream.reader import Reader
from bench.stream.run import _targets
from bench.stream.ways import Trial


async def test_every_turn_says_all_of_its_events_in_order_and_none_before_it_is_due() -> None:
    said: list[tuple[int, int]] = []
    early: list[float] = []

    async def say(turn: int, words: str) -> None:
        moment, _, number = words.strip().partition(":")
        said.append((turn, int(number)))
        early.append(float(moment) - time.time())

    load = Load(turns=3, rate=200.0, seconds=0.05)
    await speak(load, say)
    assert said == [(turn, number) for number in range(10) for turn in range(3)]
    assert max(early) <= 0.002


async def test_a_reader_counts_pieces_whether_they_come_as_one_event_or_as_several() -> None:
    reader = Reader(b"")
    now = 100.0
    for data in ("99.9:0 99.95:1 ", "99.99:2 "):
        reader.take({"type": "message", "data": data}, now)
    reader.take({"type": "stop", "data": json.dumps([])}, now)
    assert (reader.numbers, reader.ends) == ([0, 1, 2], 1)
    assert reader.late == pytest.approx([0.1, 0.05, 0.01])


@pytest.mark.parametrize(("whole", "p99", "met"), [(100, 19.9, [True, True]), (99, 20.1, [False, False])])
def test_targets_are_latency_and_wholeness(whole: int, p99: float, met: list[bool]) -> None:
    trial = Trial(Load(100, 50.0, 1.0), heard=5000, whole=whole, p50=1.0, p99=p99, max=50.0, cpu_share=1.0)
    assert [target.met for target in _targets("ours", trial, quick=True)] == met
