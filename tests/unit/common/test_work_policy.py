"""How often each kind of work is tried, from settings to policy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from aperag_common.jobs.declared import TURN
from aperag_common.jobs.kind import kinds
from aperag_common.settings import ServiceSettings, WorkSettings
from aperag_work.policy import WorkPolicy

SECOND = timedelta(seconds=1)


def test_work_differs_only_in_what_is_said_of_it() -> None:
    settings = WorkSettings.model_validate({"max_attempts": 7, "steps": {"parse": {"max_failures": 2}}})
    policy = WorkPolicy.of(settings)
    assert (policy.of_work("parse").max_failures, policy.of_work("parse").max_attempts) == (2, 7)
    assert policy.of_work("vector") is policy
    assert (policy.max_failures, policy.max_attempts) == (4, 7)


def test_the_originals_three_retries_after_sixty_seconds_can_be_expressed() -> None:
    fixed = {"retry_base": "PT60S", "retry_cap": "PT60S", "retry_jitter": 0}
    names = {work.retry for kind in kinds() for work in kind.works}
    policy = WorkPolicy.of(WorkSettings.model_validate({"steps": dict.fromkeys(names, fixed)}))
    for name in names:
        assert {policy.of_work(name).retry_delay(n) for n in range(1, 4)} == {60 * SECOND}


def test_steps_are_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APERAG_WORK__STEPS__PARSE__MAX_FAILURES", "2")
    monkeypatch.setenv("APERAG_WORK__STEPS__REMOVE__RETRY_BASE", "PT5S")
    policy = WorkPolicy.of(ServiceSettings().work)
    assert policy.of_work("parse").max_failures == 2
    assert policy.of_work("remove").retry_base == 5 * SECOND


@pytest.mark.parametrize("steps", [{"parse": {"retries": 1}}, {"parse": {"retry_jitter": 2}}])
def test_an_unknown_setting_or_number_is_refused(steps: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WorkSettings.model_validate({"steps": steps})


def test_work_that_no_kind_declares_is_refused_with_the_names_that_there_are() -> None:
    settings = WorkSettings.model_validate({"steps": {"parsing": {}}})
    with pytest.raises(ValueError, match="APERAG_WORK__STEPS names parsing: there is only .*parse"):
        WorkPolicy.of(settings)


@pytest.mark.parametrize(("everybodys", "turns"), [({}, (2, 2)), ({"max_failures": 1}, (1, 2))])
def test_what_a_kind_declares_is_lowered_by_settings_for_all_work_and_replaced_by_its_own(
    everybodys: dict[str, object], turns: tuple[int, int]
) -> None:
    policy = WorkPolicy.of(WorkSettings.model_validate(everybodys)).of_work(TURN.works[0].retry)
    assert (policy.max_failures, policy.max_attempts) == turns
    own = {"steps": {"turn": {"max_failures": 5, "max_attempts": 9}}}
    policy = WorkPolicy.of(WorkSettings.model_validate({**everybodys, **own})).of_work("turn")
    assert (policy.max_failures, policy.max_attempts) == (5, 9)


def test_a_beat_that_could_not_keep_its_lease_is_refused() -> None:
    with pytest.raises(ValidationError, match="half of"):
        WorkSettings.model_validate({"lease": "PT10S", "beat": "PT6S"})


def test_a_schedule_says_when_and_how_often_a_delivery_is_tried() -> None:
    policy = WorkPolicy.of(WorkSettings(max_failures=2, retry_cap=timedelta(seconds=1)))
    deliveries = policy.of_work("webhook")
    minutes = [deliveries.retry_delay(failures, luck=0) / timedelta(minutes=1) for failures in range(1, 8)]
    assert minutes == [5 / 60, 5, 30, 120, 300, 600, 600]
    assert deliveries.retry_delay(7, luck=1) == timedelta(hours=12)
    assert (deliveries.max_failures, deliveries.max_attempts) == (8, 20)
    # A clock that was set back is seen as soon as before in jobs that have no schedule.
    assert policy.latest_due == timedelta(minutes=10, seconds=5)
    assert policy.latest_of_schedules() == {"webhook.deliver": timedelta(hours=12, seconds=5)}
