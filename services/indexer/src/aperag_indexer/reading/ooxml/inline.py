"""The text inside a paragraph of Word, with what stands in it besides letters."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aperag_indexer.reading.ooxml.equations import linear
from aperag_indexer.reading.ooxml.package import attribute, child, is_on, name_of, value_of

if TYPE_CHECKING:
    from aperag_indexer.reading.ooxml.package import Element

_PAGE_BREAK = "\x0c"
_FIXED = {"tab": "\t", "ptab": "\t", "cr": "\n", "noBreakHyphen": "-", "softHyphen": ""}
# What stays out: deleted text, where moved text came from, instructions of fields, properties, the old twin of a shape.
_SKIPPED = {
    *("del", "moveFrom", "delText", "instrText", "delInstrText", "pPr", "rPr", "sdtPr", "Fallback", "rubyPr", "tcPr"),
    *("fldData", "annotationRef", "footnoteRef", "endnoteRef", "positionH", "positionV", "sizeRelH", "sizeRelV"),
}
_SYMBOLS = {
    "symbol": dict(zip("abcdefghiklmnopqrstuwxyzDGFLPQSWXY", "αβχδεφγηικλμνοπθρστυωξψζΔΓΦΛΠΘΣΩΞΨ", strict=True))
    | {"\xb0": "°", "\xb1": "±", "\xa3": "≤", "\xb3": "≥", "\xb4": "×", "\xb8": "÷", "\xb9": "≠", "\xae": "→"},
    "wingdings": {"\xfc": "✓", "\xfb": "✗", "\xfe": "☑", "\xa8": "☐", "\xe0": "→", "\xd8": "➢", "J": "☺", "\xa7": "▪"},
}
_GENERATED = re.compile("(?:Description automatically generated|AI-generated content may be incorrect)\\.?")
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".emf", ".wmf", ".bmp", ".tif", ".svg")
_STRUCK = re.compile("~~~~")


@dataclass
class Found:
    """``notes`` are (kind, id) of the notes that are referred to, ``boxes`` the contents of text boxes, ``frames`` charts and
    diagrams.
    """

    parts: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[Element] = field(default_factory=list)
    frames: list[Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        return _STRUCK.sub("", "".join(self.parts))


class Inline:
    """Emphasis is left out: it is often spread over halves of words. Struck text stays marked, for it no longer holds."""

    def __init__(self, *, laid_out: bool = False) -> None:
        """``laid_out``: Word has noted where its pages ended; else only breaks that an author made count."""
        self.laid_out = laid_out

    def read(self, paragraph: Element) -> Found:
        found = Found()
        properties = child(paragraph, "pPr")
        if is_on(properties, "pageBreakBefore") and not self.laid_out:
            found.parts.append(_PAGE_BREAK)
        for part in paragraph:
            self._add(part, found)
        return found

    def _add(self, element: Element, found: Found) -> None:
        name = name_of(element)
        if name in _SKIPPED or not name:
            return
        if name == "r":
            self._run(element, found)
        elif name == "t":
            found.parts.append(element.text or "")
        elif name == "br":
            found.parts.append(self._break(attribute(element, "type")))
        elif name == "lastRenderedPageBreak":
            found.parts.append(_PAGE_BREAK)
        elif name in _FIXED:
            found.parts.append(_FIXED[name])
        elif name == "sym":
            found.parts.append(sign(attribute(element, "font") or "", attribute(element, "char") or ""))
        else:
            self._add_special(name, element, found)

    def _add_special(self, name: str, element: Element, found: Found) -> None:
        if name in {"footnoteReference", "endnoteReference"}:
            number = attribute(element, "id") or ""
            found.notes.append((f"{name[:-9]}s", number))
            found.parts.append(f"[^{number}]")
        elif name == "oMath":
            found.parts.append(linear(element))
        elif name == "txbxContent":
            found.boxes.append(element)
        elif name in {"chart", "relIds"}:
            found.frames.append(element)
        elif name == "docPr":
            found.parts.append(_description(element))
        elif name == "rt":
            found.parts += ["(", *self._inner(element, found), ")"]
        else:
            for below in element:
                self._add(below, found)

    def _inner(self, element: Element, found: Found) -> list[str]:
        inside = Found()
        for below in element:
            self._add(below, inside)
        found.boxes += inside.boxes
        found.frames += inside.frames
        return inside.parts

    def _run(self, run: Element, found: Found) -> None:
        properties = child(run, "rPr")
        inside = self._inner_run(run, found)
        text = "".join(inside)
        if not text:
            return
        if is_on(properties, "strike") or is_on(properties, "dstrike"):
            text = f"~~{text}~~" if text.strip() else text
        place = value_of(properties, "vertAlign")
        before = "".join(found.parts)[-1:]
        found.parts.append(scripted(before, text, place) if place in {"superscript", "subscript"} else text)

    def _inner_run(self, run: Element, found: Found) -> list[str]:
        inside = Found()
        for below in run:
            self._add(below, inside)
        found.notes += inside.notes
        found.boxes += inside.boxes
        found.frames += inside.frames
        return inside.parts

    def _break(self, kind: str | None) -> str:
        if kind == "page":
            return "" if self.laid_out else _PAGE_BREAK
        return "\n"


def scripted(before: str, text: str, place: str) -> str:
    """Raised and lowered signs, so that 10⁶ does not become 106 while H₂O may become H2O."""
    bare = text.strip()
    if not bare or not before or before.isspace():
        return text
    if place.startswith("sup"):
        raised = before.isdigit() or before in ")]" or bare[0] in "-−+–"
        return f"^{bare}" if raised and any(map(str.isdigit, bare)) and not bare.startswith(("[", "(")) else text
    return text if before.isalpha() and bare.isdigit() else f"_{bare}"


def sign(font: str, code: str) -> str:
    """A sign of a picture font, in Unicode."""
    try:
        character = chr(int(code, 16) & 0xFF) if code.upper().startswith("F0") else chr(int(code, 16))
    except ValueError:
        return ""
    known = next((table for name, table in _SYMBOLS.items() if font.lower().startswith(name)), None)
    return known.get(character, "•") if known is not None else character


def _description(element: Element) -> str:
    """What an author wrote about a picture; what Word made up is a file name or says so."""
    words = _GENERATED.sub("", attribute(element, "descr") or "").strip()
    return f" {words} " if words and not words.lower().endswith(_PICTURES) else ""
