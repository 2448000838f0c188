"""How long a message waits after an error that nobody foresaw."""

from __future__ import annotations

from aperag_common.bus import specs
from aperag_common.bus.consume import unexpected_delay


def test_the_delay_doubles_up_to_half_a_minute() -> None:
    assert [unexpected_delay(n).total_seconds() for n in (1, 2, 3, 4, 5, 99)] == [2, 4, 8, 16, 30, 30]


def test_the_deliveries_of_a_message_outlast_an_outage_of_forty_minutes() -> None:
    waits = [unexpected_delay(n).total_seconds() for n in range(1, specs.MAX_DELIVER)]
    assert sum(waits) > 40 * 60
