"""Days and times as a format writes them."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta

from aperag_indexer.reading.ooxml.formats import Section, Token, literal

_MONTHS = tuple(calendar.month_name)[1:]
_DAYS = tuple(calendar.day_name)
_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)  # noqa: DTZ001  a cell has no time zone
_DAYS_OF_1900 = 60
"""Excel believes in a 29 February 1900: days before it are one later."""
_LAST_DAY = 2_958_465


def written_date(number: float, section: Section, *, since_1904: bool) -> str | None:
    """None for what is no day that a calendar has."""
    if not 0 <= number <= _LAST_DAY:
        return None
    tokens = section.tokens
    places = next((len(t.text) - 1 for t in tokens if t.kind == "fraction"), 0)
    passed = timedelta(seconds=round(number * 86400 * 10**places) / 10**places)
    days = passed if since_1904 or number >= _DAYS_OF_1900 else passed + timedelta(days=1)
    when = (_EPOCH_1904 if since_1904 else _EPOCH) + days
    has_half = any(token.kind == "half" for token in tokens)
    written = (_date_part(tokens, place, when, passed, has_half=has_half) for place in range(len(tokens)))
    return "".join(written).strip()


def _date_part(tokens: tuple[Token, ...], place: int, when: datetime, passed: timedelta, *, has_half: bool) -> str:
    token = tokens[place]
    text = token.text.lower()
    if token.kind == "elapsed":
        seconds = {"h": 3600, "m": 60, "s": 1}[text[1]]
        return str(int(passed.total_seconds() // seconds)).rjust(len(text) - 2, "0")
    if token.kind == "half":
        first, _, second = token.text.partition("/")
        return first if when.hour < 12 else second
    if token.kind == "fraction":
        return f".{when.microsecond:06d}"[: len(text)]
    if token.kind != "date":
        return literal(token)
    if text[0] == "m" and _means_minutes(tokens, place):
        return str(when.minute).rjust(min(len(text), 2), "0")
    return _of_calendar(text, when, has_half=has_half)


def _means_minutes(tokens: tuple[Token, ...], place: int) -> bool:
    def is_time(token: Token, letter: str) -> bool:
        return token.kind in {"date", "elapsed"} and token.text.lower().strip("[]")[0] == letter

    before = [t for t in tokens[:place] if t.kind in {"date", "elapsed"}]
    after = [t for t in tokens[place + 1 :] if t.kind in {"date", "elapsed"}]
    return bool((before and is_time(before[-1], "h")) or (after and is_time(after[0], "s")))


def _of_calendar(text: str, when: datetime, *, has_half: bool) -> str:
    letter, length = text[0], len(text)
    if letter in "ye":
        return f"{when.year % 100:02d}" if letter == "y" and length <= 2 else str(when.year)
    if letter == "m":
        month = _MONTHS[when.month - 1]
        return {1: str(when.month), 2: f"{when.month:02d}", 3: month[:3], 5: month[0]}.get(length, month)
    if letter == "d":
        day = _DAYS[when.weekday()]
        return {1: str(when.day), 2: f"{when.day:02d}", 3: day[:3]}.get(length, day)
    if letter == "a":
        return _DAYS[when.weekday()][: 3 if length == 3 else None]
    if letter in "hs":
        number = when.second if letter == "s" else (when.hour % 12 or 12) if has_half else when.hour
        return str(number).rjust(min(length, 2), "0")
    return ""
