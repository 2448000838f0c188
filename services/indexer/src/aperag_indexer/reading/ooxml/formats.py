"""Excel's number formats in their parts: sections of tokens (ECMA-376 part 1, 18.8.31)."""

from __future__ import annotations

import re
from decimal import Decimal
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


class Token(NamedTuple):
    kind: str
    text: str


class Section(NamedTuple):
    tokens: tuple[Token, ...]
    condition: tuple[str, Decimal] | None

    def kinds(self) -> set[str]:
        return {token.kind for token in self.tokens}


@lru_cache(maxsize=500)
def sections(code: str) -> tuple[Section, ...]:
    parts: list[list[Token]] = [[]]
    for match in _TOKEN.finditer(code):
        token = Token(match.lastgroup or "sign", match.group())
        if token == ("sign", ";"):
            parts.append([])
        else:
            parts[-1].append(token)
    return tuple(section_of(part) for part in parts)


def section_of(tokens: list[Token]) -> Section:
    condition = next((c for t in tokens if t.kind == "bracket" and (c := _CONDITION.fullmatch(t.text))), None)
    is_date = any(token.kind in {"date", "elapsed"} for token in tokens)
    # ".00" is a part of seconds in a time and the places of a number elsewhere.
    kept = [Token("number", t.text) if t.kind == "fraction" and not is_date else t for t in tokens]
    if is_date:
        kept = [Token("sign", t.text) if t.kind == "number" else t for t in kept]
    return Section(tuple(kept), (condition.group(1), Decimal(condition.group(2))) if condition else None)


def literals(tokens: tuple[Token, ...]) -> str:
    return "".join(map(literal, tokens))


def literal(token: Token) -> str:
    if token.kind == "literal":
        if token.text[0] == '"':
            return token.text[1:-1]
        return token.text[1] if token.text[0] == "\\" else " " if token.text[0] == "_" else ""
    if token.kind == "bracket":
        currency = _CURRENCY.fullmatch(token.text)
        return currency.group(1) if currency else ""
    return token.text if token.kind in {"sign", "percent"} else ""
