"""Numbers, sizes and times as people read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aperag_console.web.texts import Texts

MINUTE, HOUR, DAY, MONTH = 60, 3600, 86_400, 2_592_000
KILO = 1000


@dataclass(frozen=True, slots=True)
class Formats:
    """In the words of one language; the browser shows the exact moment as a tooltip."""

    texts: Texts

    def size(self, count: int) -> str:
        value = float(count)
        for unit in ("B", "kB", "MB", "GB"):
            if value < KILO or unit == "GB":
                return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
            value /= KILO
        raise AssertionError

    def number(self, count: float | None) -> str:
        if count is None:
            return "–"
        return f"{count:,.0f}" if count == int(count) else f"{count:,.1f}"

    def seconds(self, value: float | None) -> str:
        """A length of time, with no more digits than matter."""
        if value is None:
            return "–"
        if value < 1:
            return f"{value * 1000:.0f} ms"
        if value < MINUTE:
            return f"{value:.1f}".removesuffix(".0") + " s"
        if value < HOUR:
            return f"{value // MINUTE:.0f} min {value % MINUTE:.0f} s".removesuffix(" 0 s")
        return f"{value // HOUR:.0f} h {value % HOUR // MINUTE:.0f} min".removesuffix(" 0 min")

    def ago(self, moment: str | None) -> str:
        if not moment:
            return "–"
        passed = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
        if passed < MINUTE:
            return self.texts("time.now")
        for unit, name in ((MONTH, "months"), (DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
            if passed >= unit:
                return self.texts(f"time.{name}_ago", n=int(passed // unit))
        raise AssertionError

    def moment(self, moment: str | None) -> str:
        """To the second, in UTC, as the command line shows it."""
        return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else "–"
