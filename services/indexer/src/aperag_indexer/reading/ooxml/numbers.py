"""Numbers as a spreadsheet shows them: Excel's number formats (ECMA-376 part 1, 18.8.31)."""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

GENERAL = "General"
# What the standard gives no code for in files; 27 to 36 and 50 to 58 depend on the language, as dates all of them.
BUILT_IN = {
    0: GENERAL,
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    5: "#,##0;-#,##0",
    6: "#,##0;-#,##0",
    7: "#,##0.00;-#,##0.00",
    8: "#,##0.00;-#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: "yyyy-mm-dd",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "yyyy-mm-dd h:mm",
    37: "#,##0;-#,##0",
    38: "#,##0;-#,##0",
    39: "#,##0.00;-#,##0.00",
    40: "#,##0.00;-#,##0.00",
    41: "#,##0",
    42: "#,##0",
    43: "#,##0.00",
    44: "#,##0.00",
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "##0.0E+0",
    49: "@",
    **dict.fromkeys((27, 28, 29, 30, 31, 36, 50, 51, 52, 53, 54, 57, 58), "yyyy-mm-dd"),
    **dict.fromkeys((32, 33, 34, 35, 55, 56), "h:mm:ss"),
}
_TOKEN = re.compile(
    r"""(?P<literal>"[^"]*"|\\.|_.|\*.)|(?P<elapsed>\[(?:h+|m+|s+)\])|(?P<bracket>\[[^\]]*\])"""
    r"""|(?P<half>AM/PM|A/P|上午/下午|오전/오후|午前/午後)|(?P<general>General)|(?P<exponent>E[+-]0+)|(?P<date>y+|m+|d+|h+|s+|e+|a{3,4}|g+|b+)"""
    r"""|(?P<fraction>\.0+(?=\D|$))|(?P<number>[0#?.,]+)|(?P<percent>%)|(?P<text>@)|(?P<sign>.)""",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"\[(<=|>=|<>|=|<|>)(-?[\d.]+)\]")
_CURRENCY = re.compile(r"\[\$([^\]-]*)(?:-[^\]]*)?\]")
_MONTHS = tuple(calendar.month_name)[1:]
_DAYS = tuple(calendar.day_name)
_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)  # noqa: DTZ001  a cell has no time zone
_DAYS_OF_1900 = 60
"""Excel believes in a 29 February 1900: days before it are one later."""
_LAST_DAY = 2_958_465
_COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
}


class _Token(NamedTuple):
    kind: str
    text: str


class _Section(NamedTuple):
    tokens: tuple[_Token, ...]
    condition: tuple[str, Decimal] | None

    def kinds(self) -> set[str]:
        return {token.kind for token in self.tokens}


def shown(value: str, code: str, *, since_1904: bool = False) -> str:
    """``value`` as the file holds it; what is no number stays as it is."""
    try:
        number = Decimal(value)
    except ArithmeticError:
        return value
    if code == GENERAL or not number.is_finite():
        return general(number)
    section, is_negative_one = _chosen(number, _sections(code))
    if section is None:
        return general(number)
    kinds = section.kinds()
    if kinds & {"date", "elapsed", "half"}:
        return _date(float(number), section, since_1904=since_1904) or general(number)
    if not kinds & {"number", "general", "exponent", "percent", "fraction", "text"}:
        return _literals(section.tokens).strip()
    written = _number(abs(number), section)
    # A rounded nothing has no sign.
    minus = "-" if number < 0 and not is_negative_one and re.search("[1-9]", written) else ""
    return f"{minus}{written}".strip()


def general(number: Decimal) -> str:
    """Whole numbers as they are, others with the fifteen digits that Excel keeps, without what floats add."""
    if number != number.to_integral_value():
        with localcontext() as context:
            context.prec = 15
            number = +number
    if number == number.to_integral_value() and abs(number) < Decimal(10) ** 21:
        return f"{number:.0f}"
    if abs(number) >= Decimal(10) ** 21 or (number != 0 and abs(number) < Decimal("1e-9")):
        return f"{number.normalize():E}"
    return f"{number.normalize():f}"


@lru_cache(maxsize=500)
def _sections(code: str) -> tuple[_Section, ...]:
    parts: list[list[_Token]] = [[]]
    for match in _TOKEN.finditer(code):
        token = _Token(match.lastgroup or "sign", match.group())
        if token == ("sign", ";"):
            parts.append([])
        else:
            parts[-1].append(token)
    return tuple(_section(part) for part in parts)


def _section(tokens: list[_Token]) -> _Section:
    condition = next((c for t in tokens if t.kind == "bracket" and (c := _CONDITION.fullmatch(t.text))), None)
    is_date = any(token.kind in {"date", "elapsed"} for token in tokens)
    # ".00" is a part of seconds in a time and the places of a number elsewhere.
    kept = [_Token("number", t.text) if t.kind == "fraction" and not is_date else t for t in tokens]
    if is_date:
        kept = [_Token("sign", t.text) if t.kind == "number" else t for t in kept]
    return _Section(tuple(kept), (condition.group(1), Decimal(condition.group(2))) if condition else None)


def _chosen(number: Decimal, sections: tuple[_Section, ...]) -> tuple[_Section | None, bool]:
    """The section for a number, and whether it says itself that the number is negative."""
    numeric = sections[:3]
    if any(section.condition for section in numeric):
        for section in numeric:
            if section.condition is None or _COMPARE[section.condition[0]](number, section.condition[1]):
                return section, section.condition is not None and number < 0 and len(sections) > 1
        return None, False
    if number < 0 and len(numeric) > 1:
        return numeric[1], True
    if number == 0 and len(numeric) > 2:
        return numeric[2], False
    return numeric[0], False


def _literals(tokens: tuple[_Token, ...]) -> str:
    return "".join(map(_literal, tokens))


def _literal(token: _Token) -> str:
    if token.kind == "literal":
        if token.text[0] == '"':
            return token.text[1:-1]
        return token.text[1] if token.text[0] == "\\" else " " if token.text[0] == "_" else ""
    if token.kind == "bracket":
        currency = _CURRENCY.fullmatch(token.text)
        return currency.group(1) if currency else ""
    return token.text if token.kind in {"sign", "percent"} else ""


def _number(number: Decimal, section: _Section) -> str:
    tokens = section.tokens
    number *= Decimal(100) ** sum(token.kind == "percent" for token in tokens)
    if "exponent" in section.kinds():
        return _scientific(number, tokens)
    signs = [t for t in tokens if t.kind == "sign" and t.text == "/"]
    masks = [t.text for t in tokens if t.kind == "number"]
    if signs and len(masks) >= 2:
        return _fraction(number, tokens)
    if not masks:
        return "".join(general(number) if t.kind in {"general", "text"} else _literal(t) for t in tokens)
    mask = "".join(masks)
    scaled = mask.rstrip(",") if not mask.endswith(".") else mask
    number /= Decimal(1000) ** (len(mask) - len(scaled))
    written = iter(_masked(number, masks, scaled))
    return "".join(next(written) if token.kind == "number" else _literal(token) for token in tokens)


def _masked(number: Decimal, masks: list[str], mask: str) -> list[str]:
    """Digits for each part of the mask: literals may stand between them, as in ``000-0000``."""
    whole_mask, _, places_mask = mask.partition(".")
    most, least = len(places_mask.replace(",", "")), places_mask.count("0")
    rounded = number.quantize(Decimal(1).scaleb(-most), ROUND_HALF_UP) if number.adjusted() < 25 else number
    whole, _, places = f"{rounded:f}".partition(".")
    whole = "" if whole == "0" else whole
    whole = whole.rjust(whole_mask.count("0"), "0")
    kept = places[:least] + places[least:].rstrip("0") if places else ""
    if "," in whole_mask.strip(","):
        whole = _grouped(whole)
    if len(masks) == 1 or "," in mask:
        point = "." if kept or (places_mask == "" and mask.endswith(".")) else ""
        return [f"{whole}{point}{kept}", *[""] * (len(masks) - 1)]
    return _spread(masks, whole, kept)


def _spread(masks: list[str], whole: str, kept: str) -> list[str]:
    parts: list[str] = []
    behind = "".join(masks).partition(".")[2]
    for mask in reversed(masks):
        if behind and "." not in mask and len("".join(parts)) < len(behind):
            parts.insert(0, kept[-len(mask) :])
            kept = kept[: -len(mask)]
        elif "." in mask:
            parts.insert(0, f"{whole[-mask.index('.') :] if mask.index('.') else ''}.{kept}")
            whole = whole[: -mask.index(".")] if mask.index(".") else whole
        else:
            parts.insert(0, whole[-len(mask) :])
            whole = whole[: -len(mask)]
    return [whole + parts[0], *parts[1:]]


def _grouped(whole: str) -> str:
    return re.sub(r"(?<=\d)(?=(?:\d{3})+$)", ",", whole)


def _scientific(number: Decimal, tokens: tuple[_Token, ...]) -> str:
    mask = next((t.text for t in tokens if t.kind == "number"), "0")
    step = max(1, len(mask.partition(".")[0].replace(",", "")))
    power = number.adjusted() if number else 0
    power -= power % step
    places = len(mask.partition(".")[2])
    mantissa = f"{number.scaleb(-power):.{places}f}"
    exponent = next(t.text for t in tokens if t.kind == "exponent")
    sign = "-" if power < 0 else "+" if "+" in exponent else ""
    return f"{mantissa}E{sign}{abs(power):0{exponent.count('0')}d}"


def _fraction(number: Decimal, tokens: tuple[_Token, ...]) -> str:
    masks = [t.text for t in tokens if t.kind == "number"]
    code = "".join(t.text for t in tokens if t.kind in {"number", "sign"})
    fixed = re.search(r"/\s*(\d*[1-9]\d*)", "".join(t.text for t in tokens))
    mixed = len(masks) > 2 or (len(masks) == 2 and fixed is not None)
    whole = int(number) if mixed else 0
    rest = Fraction(number) - whole
    if fixed:
        parts = (round(rest * int(fixed.group(1))), int(fixed.group(1)))
    else:
        near = rest.limit_denominator(10 ** max(1, len(code.rpartition("/")[2].strip())) - 1)
        parts = (near.numerator, near.denominator)
    if parts[0] == 0:
        return str(whole)
    if parts[0] == parts[1]:
        return str(whole + 1)
    return f"{f'{whole} ' if whole else ''}{parts[0]}/{parts[1]}"


def _date(number: float, section: _Section, *, since_1904: bool) -> str | None:
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


def _date_part(tokens: tuple[_Token, ...], place: int, when: datetime, passed: timedelta, *, has_half: bool) -> str:
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
        return _literal(token)
    if text[0] == "m" and _means_minutes(tokens, place):
        return str(when.minute).rjust(min(len(text), 2), "0")
    return _of_calendar(text, when, has_half=has_half)


def _means_minutes(tokens: tuple[_Token, ...], place: int) -> bool:
    def is_time(token: _Token, letter: str) -> bool:
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
