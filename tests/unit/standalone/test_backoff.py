"""A process that keeps dying is started ever more slowly, up to a cap."""

from __future__ import annotations

import pytest

from aperag_standalone.supervisor.unit import Backoff


@pytest.mark.parametrize(("deaths", "delay"), [(1, 0.2), (2, 0.4), (3, 0.8), (5, 3.2), (6, 5.0), (10_000, 5.0)])
def test_the_delay_doubles_up_to_the_cap(deaths: int, delay: float) -> None:
    assert Backoff().delay(deaths) == pytest.approx(delay)
