"""``aperag timers`` against the real stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aperag_cli.exits import Exit
from aperag_common.events.ticks import TimerName

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Aperag

pytestmark = pytest.mark.timeout(240)


def test_every_timer_is_shown_to_people_and_to_programs(aperag: Aperag) -> None:
    told = aperag.json("timers", "list")
    assert [it["name"] for it in told] == list(TimerName)
    shown = aperag("timers", "list")
    assert shown.exit_code == Exit.OK, shown.output
    assert all(name in shown.stdout for name in TimerName)


def test_a_timer_is_run_and_waited_for(aperag: Aperag) -> None:
    before = next(it for it in aperag.json("timers", "list") if it["name"] == "collection-gc")
    after = aperag.json("timers", "run", "collection-gc", "--wait")
    assert after["runs"] > before["runs"]
    assert (after["error_message"], after["failures"]) == (None, before["failures"])


def test_running_without_waiting_says_what_was_done(aperag: Aperag) -> None:
    asked = aperag.json("timers", "run", "reconcile-evaluations")
    assert asked["name"] == "reconcile-evaluations"
    shown = aperag("timers", "run", "reconcile-evaluations")
    assert shown.exit_code == Exit.OK, shown.output
    assert "timer" in shown.stdout


def test_an_unknown_timer_is_not_found(aperag: Aperag) -> None:
    ended = aperag("timers", "run", "midnight")
    assert ended.exit_code == Exit.NOT_FOUND
    assert "reconcile-indexes" in ended.output
