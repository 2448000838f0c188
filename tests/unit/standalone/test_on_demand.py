"""A service on demand: whatever goes wrong with it, it is asked for again, and the stack can be stopped."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from aperag_standalone.errors import StartFailed
from aperag_standalone.supervisor import on_demand
from aperag_standalone.supervisor.on_demand import OnDemand
from aperag_testing.waiting import until


@dataclass
class FakeUnit:
    """Its start raises ``failure`` where there is one."""

    failure: Exception | None = None
    state: Any = field(default_factory=lambda: type("State", (), {"name": "webhooks"})())
    stopped: bool = False

    async def start(self, *, within: float) -> None:
        del within
        if self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        self.stopped = True


@dataclass
class Answers:
    """What the database answers, the last for ever."""

    given: deque[bool | Exception | None]

    async def look(self) -> bool | None:
        answer = self.given.popleft() if len(self.given) > 1 else self.given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None: ...


def on_demand_of(made: list[FakeUnit], answers: list[Any], failures: list[Exception | None]) -> OnDemand:
    waiting = deque(failures)

    def make() -> Any:
        made.append(FakeUnit(waiting.popleft() if waiting else None))
        return made[-1]

    looking: Any = Answers(deque(answers))
    return OnDemand(make, lambda: looking, lambda: None, start_timeout=1)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "LOOK_SECONDS", 0.001)


@pytest.mark.parametrize(
    "failure", [StartFailed("it was not ready", hint=""), OSError("no more processes"), ValueError("unforeseen")]
)
async def test_a_start_that_fails_is_tried_again(failure: Exception) -> None:
    made: list[FakeUnit] = []
    service = on_demand_of(made, [True], [failure])
    service.start()

    async def again() -> bool:
        return len(made) == 2 and service.units == (made[1],)

    await until(again, every=0.005)
    await service.stop()
    assert [unit.stopped for unit in made] == [True, True]


async def test_a_look_that_fails_unforeseen_is_tried_again_and_keeps_nobody_from_stopping() -> None:
    made: list[FakeUnit] = []
    service = on_demand_of(made, [RuntimeError("unforeseen"), True], [])
    service.start()

    async def running() -> bool:
        return bool(service.units)

    await until(running, every=0.005)
    await service.stop()
    assert made[0].stopped


async def test_a_database_that_does_not_answer_ends_nothing() -> None:
    made: list[FakeUnit] = []
    service = on_demand_of(made, [True, None, None, False], [])
    service.start()

    async def ended() -> bool:
        return bool(made) and made[0].stopped

    await until(ended, every=0.005)
    await service.stop()
    assert len(made) == 1
