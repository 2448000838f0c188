"""Numbers as a spreadsheet shows them."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

from aperag_indexer.reading.ooxml.dates import written_date
from aperag_indexer.reading.ooxml.formats import GENERAL, Section, Token, literal, literals, sections

_COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
}


def shown(value: str, code: str, *, since_1904: bool = False) -> str:
    """``value`` as the file holds it; what is no number stays as it is."""
    try:
        number = Decimal(value)
    except ArithmeticError:
        return value
    if code == GENERAL or not number.is_finite():
        return general(number)
    section, is_negative_one = _chosen(number, sections(code))
    if section is None:
        return general(number)
    kinds = section.kinds()
    if kinds & {"date", "elapsed", "half"}:
        return written_date(float(number), section, since_1904=since_1904) or general(number)
    if not kinds & {"number", "general", "exponent", "percent", "fraction", "text"}:
        return literals(section.tokens).strip()
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


def _chosen(number: Decimal, sections: tuple[Section, ...]) -> tuple[Section | None, bool]:
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


def _number(number: Decimal, section: Section) -> str:
    tokens = section.tokens
    number *= Decimal(100) ** sum(token.kind == "percent" for token in tokens)
    if "exponent" in section.kinds():
        return _scientific(number, tokens)
    signs = [t for t in tokens if t.kind == "sign" and t.text == "/"]
    masks = [t.text for t in tokens if t.kind == "number"]
    if signs and len(masks) >= 2:
        return _fraction(number, tokens)
    if not masks:
        return "".join(general(number) if t.kind in {"general", "text"} else literal(t) for t in tokens)
    mask = "".join(masks)
    scaled = mask.rstrip(",") if not mask.endswith(".") else mask
    number /= Decimal(1000) ** (len(mask) - len(scaled))
    written = iter(_masked(number, masks, scaled))
    return "".join(next(written) if token.kind == "number" else literal(token) for token in tokens)


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


def _scientific(number: Decimal, tokens: tuple[Token, ...]) -> str:
    mask = next((t.text for t in tokens if t.kind == "number"), "0")
    step = max(1, len(mask.partition(".")[0].replace(",", "")))
    power = number.adjusted() if number else 0
    power -= power % step
    places = len(mask.partition(".")[2])
    mantissa = f"{number.scaleb(-power):.{places}f}"
    exponent = next(t.text for t in tokens if t.kind == "exponent")
    sign = "-" if power < 0 else "+" if "+" in exponent else ""
    return f"{mantissa}E{sign}{abs(power):0{exponent.count('0')}d}"


def _fraction(number: Decimal, tokens: tuple[Token, ...]) -> str:
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
