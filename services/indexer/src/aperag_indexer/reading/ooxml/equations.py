"""Formulas (OMML) as one line of text, in the place where they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aperag_indexer.reading.ooxml.package import child, children, name_of, value_of

if TYPE_CHECKING:
    from aperag_indexer.reading.ooxml.package import Element

_INVISIBLE = re.compile("[\u2061-\u2064]")
"""Operators that are only meant, as between a function and what it is applied to."""


def linear(element: Element) -> str:
    """As one writes it by hand: ``(a+b)/2``, ``x_1^2``, ``sqrt(x)``."""
    name = name_of(element)
    if name == "t":
        return _INVISIBLE.sub("", element.text or "")
    write = _WRITERS.get(name)
    return write(element) if write else "".join(linear(below) for below in element if not name_of(below).endswith("Pr"))


def _of(element: Element, part: str) -> str:
    found = child(element, part)
    return "" if found is None else linear(found)


def _grouped(text: str) -> str:
    return text if len(text) <= 1 or text.isalnum() else f"({text})"


def _fraction(element: Element) -> str:
    return f"{_grouped(_of(element, 'num'))}/{_grouped(_of(element, 'den'))}"


def _scripted(element: Element) -> str:
    sub, sup = _of(element, "sub"), _of(element, "sup")
    return _of(element, "e") + (f"_{_grouped(sub)}" if sub else "") + (f"^{_grouped(sup)}" if sup else "")


def _root(element: Element) -> str:
    degree = _of(element, "deg")
    return f"root({degree}, {_of(element, 'e')})" if degree else f"sqrt({_of(element, 'e')})"


def _large(element: Element) -> str:
    sign = value_of(element, "naryPr", "chr") or "∫"
    sub, sup = _of(element, "sub"), _of(element, "sup")
    return sign + (f"_{_grouped(sub)}" if sub else "") + (f"^{_grouped(sup)}" if sup else "") + f" {_of(element, 'e')}"


def _bracketed(element: Element) -> str:
    opening = value_of(element, "dPr", "begChr")
    closing = value_of(element, "dPr", "endChr")
    separator = value_of(element, "dPr", "sepChr") or "|"
    inside = separator.join(linear(part) for part in children(element, "e"))
    return f"{'(' if opening is None else opening}{inside}{')' if closing is None else closing}"


def _applied(element: Element) -> str:
    return f"{_of(element, 'fName')}({_of(element, 'e')})"


def _matrix(element: Element) -> str:
    rows = ("; ".join(linear(cell) for cell in children(row, "e")) for row in children(element, "mr"))
    return f"[{' | '.join(rows)}]"


_WRITERS = {
    "f": _fraction,
    "sSup": _scripted,
    "sSub": _scripted,
    "sSubSup": _scripted,
    "rad": _root,
    "nary": _large,
    "d": _bracketed,
    "func": _applied,
    "m": _matrix,
}
