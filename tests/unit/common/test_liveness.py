"""When a consume loop counts as stuck: not bound, no answer, or starved of what waits; never because it is busy."""

from __future__ import annotations

from aperag_common.bus.liveness import LOOK_SECONDS, STALLED_SECONDS, Liveness

LONG = STALLED_SECONDS + 1


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def bound() -> tuple[Liveness, Clock]:
    clock = Clock()
    liveness = Liveness(clock=clock)
    liveness.answered(fetched=False)
    return liveness, clock


def problem(liveness: Liveness, *, free: int = 1) -> str | None:
    return liveness.problem("indexer-parse", free=free)


def test_a_loop_that_was_never_bound_says_so() -> None:
    assert problem(Liveness()) == "consumer indexer-parse is not bound"
    assert problem(Liveness(), free=0) == "consumer indexer-parse is not bound"


def test_a_consumer_that_answers_with_nothing_is_well() -> None:
    liveness, clock = bound()
    clock.now += LONG
    liveness.answered(fetched=False)
    assert problem(liveness) is None


def test_a_consumer_that_does_not_answer_is_stuck_only_while_slots_are_free() -> None:
    liveness, clock = bound()
    clock.now += LONG
    assert problem(liveness) == "consumer indexer-parse has not answered for 31 s"
    assert problem(liveness, free=0) is None


def test_a_loop_that_was_busy_for_long_is_well_when_a_slot_comes_free() -> None:
    liveness, clock = bound()
    clock.now += LONG
    liveness.fed()  # it was busy until now
    assert problem(liveness) is None


def test_messages_that_wait_and_never_come_are_noticed() -> None:
    liveness, clock = bound()
    assert liveness.saw(3)
    clock.now += LONG
    liveness.answered(fetched=False)
    assert not liveness.saw(3)
    assert problem(liveness) == "consumer indexer-parse does not move: messages wait, and none has come for 31 s"
    liveness.answered(fetched=True)
    assert problem(liveness) is None


def test_messages_that_waited_for_a_moment_are_nothing() -> None:
    liveness, clock = bound()
    assert liveness.saw(3)
    clock.now += LONG
    liveness.answered(fetched=False)
    assert liveness.saw(0)
    assert problem(liveness) is None
    assert liveness.saw(1)
    assert problem(liveness) is None


def test_it_looks_at_what_waits_now_and_then_and_not_after_every_answer() -> None:
    liveness, clock = bound()
    assert liveness.wants_look()
    assert not liveness.wants_look()
    clock.now += LOOK_SECONDS
    assert liveness.wants_look()
    liveness.fed()
    assert not liveness.wants_look()
