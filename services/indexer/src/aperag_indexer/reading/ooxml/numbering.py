"""The numbers and bullets that Word shows before paragraphs but does not store in them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from aperag_indexer.reading.ooxml.package import attribute, child, children, value_of

if TYPE_CHECKING:
    from aperag_indexer.reading.ooxml.package import Element

_ROMAN = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X")),
    *((9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)


class Level(NamedTuple):
    form: str
    text: str
    start: int


@dataclass
class Numbering:
    """Counts as Word does: a paragraph of a level ends the counting of the deeper ones."""

    levels: dict[str, dict[int, Level]]
    _lists: dict[str, str]
    _counts: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def of(cls, root: Element | None) -> Numbering:
        abstract = {
            attribute(one, "abstractNumId"): {
                int(attribute(level, "ilvl") or 0): Level(
                    value_of(level, "numFmt") or "decimal",
                    value_of(level, "lvlText") or "",
                    int(value_of(level, "start") or 1),
                )
                for level in children(one, "lvl")
            }
            for one in children(root, "abstractNum")
        }
        levels: dict[str, dict[int, Level]] = {}
        lists: dict[str, str] = {}
        for number in children(root, "num"):
            name, of = attribute(number, "numId") or "", value_of(number, "abstractNumId")
            levels[name] = abstract.get(of, {})
            # Two lists of one form go on counting together, unless the second says where it starts.
            lists[name] = name if child(number, "lvlOverride", "startOverride") is not None else f"abstract {of}"
        return cls(levels, lists)

    def label(self, number: str, depth: int) -> str | None:
        """What stands before the next paragraph of this list: ``-``, ``3.``, ``2.1``; None where nothing does."""
        level = self.levels.get(number, {}).get(depth)
        if level is None or level.form == "none":
            return None
        if level.form == "bullet":
            return "-"
        counts = self._counts[self._lists[number]]
        counts[depth] = counts.get(depth, level.start - 1) + 1
        for deeper in [other for other in counts if other > depth]:
            del counts[deeper]
        text = level.text
        for other in range(depth + 1):
            there = self.levels[number].get(other, level)
            text = text.replace(f"%{other + 1}", _written(counts.get(other, there.start), there.form))
        return text.strip() or None


def _written(number: int, form: str) -> str:
    if form.endswith("Letter"):
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter.upper() if form.startswith("upper") else letter
    if form.endswith("Roman"):
        roman = _roman(number)
        return roman if form.startswith("upper") else roman.lower()
    return f"{number:02}" if form == "decimalZero" else str(number)


def _roman(number: int) -> str:
    written = ""
    for worth, sign in _ROMAN:
        written += sign * (number // worth)
        number %= worth
    return written
