"""How often each step is tried, from settings to policy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from aperag_common.settings import ServiceSettings, WorkSettings, WorkStep
from aperag_common.work.policy import WorkPolicy

SECOND = timedelta(seconds=1)


def test_a_step_differs_only_in_what_is_said_of_it() -> None:
    settings = WorkSettings.model_validate({"max_attempts": 7, "steps": {"parse": {"max_failures": 2}}})
    policy = WorkPolicy.of(settings)
    assert (policy.of_step("parse").max_failures, policy.of_step("parse").max_attempts) == (2, 7)
    assert policy.of_step("vector") is policy
    assert (policy.max_failures, policy.max_attempts) == (4, 7)


def test_the_originals_three_retries_after_sixty_seconds_can_be_expressed() -> None:
    fixed = {"retry_base": "PT60S", "retry_cap": "PT60S", "retry_jitter": 0}
    policy = WorkPolicy.of(WorkSettings.model_validate({"steps": dict.fromkeys(WorkStep, fixed)}))
    for step in WorkStep:
        assert {policy.of_step(step).retry_delay(n) for n in range(1, 4)} == {60 * SECOND}


def test_steps_are_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APERAG_WORK__STEPS__PARSE__MAX_FAILURES", "2")
    monkeypatch.setenv("APERAG_WORK__STEPS__REMOVE__RETRY_BASE", "PT5S")
    policy = WorkPolicy.of(ServiceSettings().work)
    assert policy.of_step("parse").max_failures == 2
    assert policy.of_step("remove").retry_base == 5 * SECOND


@pytest.mark.parametrize("steps", [{"parsing": {}}, {"parse": {"retries": 1}}, {"parse": {"retry_jitter": 2}}])
def test_an_unknown_step_or_number_is_refused(steps: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WorkSettings.model_validate({"steps": steps})


def test_a_beat_that_could_not_keep_its_lease_is_refused() -> None:
    with pytest.raises(ValidationError, match="half of"):
        WorkSettings.model_validate({"lease": "PT10S", "beat": "PT6S"})
