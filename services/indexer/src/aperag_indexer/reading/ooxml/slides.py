"""Presentations as Markdown, slide by slide, in the order of the show and of the eye."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aperag_indexer.reading.bounds import check_pages
from aperag_indexer.reading.ooxml import drawings
from aperag_indexer.reading.ooxml.package import Package, attribute, child, children, name_of, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aperag_indexer.reading.ooxml.package import Element

_TITLES = {"title", "ctrTitle"}
_FURNITURE = {"sldNum", "hdr", "sldImg"}
_SHAPES = {"sp", "grpSp", "graphicFrame", "pic", "cxnSp", "AlternateContent"}
ROW = 360_000
"""Shapes whose tops differ by less than a centimetre (in EMU) stand side by side."""


class _Shape(NamedTuple):
    element: Element
    is_title: bool
    row: int
    left: int


def pages_of(path: Path) -> dict[int, str]:
    """By the slide's place in the show, from 0."""
    with opened(path) as packed:
        package = Package(packed)
        main = package.main or "ppt/presentation.xml"
        relations = package.relations(main)
        entries = list(children(child(package.part(main), "sldIdLst"), "sldId"))
        check_pages(len(entries))
        parts = [relations[name].target for e in entries if (name := _relation(e)) in relations]
        return {number: _slide(package, part) for number, part in enumerate(p for p in parts if package.has(p))}


def _relation(entry: Element) -> str:
    """The entry has an ``id`` of its own beside the relationship's."""
    return next((value for key, value in entry.attrib.items() if key.endswith("}id")), "")


def _slide(package: Package, part: str) -> str:
    root = package.part(part)
    layout = next(iter(package.related(part, "slideLayout")), None)
    places = _placeholders(package, layout)
    blocks = list(_blocks(package, part, child(root, "cSld", "spTree"), places))
    if root is not None and attribute(root, "show") in {"0", "false"}:
        blocks.insert(1 if blocks and blocks[0].startswith("## ") else 0, "(hidden slide)")
    for notes in package.related(part, "notesSlide"):
        said = _notes(package.part(notes))
        if said:
            blocks.append(f"Notes: {said}")
    blocks += _comments(package, part)
    return "\n\n".join(blocks)


def _blocks(package: Package, part: str, tree: Element | None, places: dict[str, tuple[int, int]]) -> Iterator[str]:
    for shape in _in_order(tree, places):
        element = shape.element
        name = name_of(element)
        if name == "grpSp":
            yield from _blocks(package, part, element, places)
            continue
        text = "\n".join(drawings.paragraphs(body)) if (body := child(element, "txBody")) is not None else ""
        if name == "graphicFrame":
            text = drawings.drawn(package, part, element)
        elif name == "pic":
            text = drawings.description(element)
        if text.strip():
            yield f"## {' '.join(text.split())}" if shape.is_title else text


def _in_order(tree: Element | None, places: dict[str, tuple[int, int]]) -> list[_Shape]:
    shapes = [_placed(element, places) for element in _shapes(tree) if _kind(element) not in _FURNITURE]
    return sorted(shapes, key=lambda shape: (not shape.is_title, shape.row, shape.left))


def _shapes(tree: Element | None) -> Iterator[Element]:
    for element in tree if tree is not None else ():
        name = name_of(element)
        if name == "AlternateContent":  # the same in two forms: the newer one
            yield from _shapes(child(element, "Choice"))
        elif name in _SHAPES:
            yield element


def _placed(element: Element, places: dict[str, tuple[int, int]]) -> _Shape:
    own = next((e for e in element.iter("{*}xfrm")), None) if name_of(element) != "grpSp" else None
    own = child(element, "grpSpPr", "xfrm") if name_of(element) == "grpSp" else own
    offset = child(own, "off")
    place = (int(attribute(offset, "y") or 0), int(attribute(offset, "x") or 0)) if offset is not None else None
    if place is None:
        place = next((places[key] for key in _keys(element) if key in places), (0, 0))
    return _Shape(element, _kind(element) in _TITLES, place[0] // ROW, place[1])


def _placeholders(package: Package, layout: str | None) -> dict[str, tuple[int, int]]:
    """Where layout and master put what the slide itself does not place."""
    found: dict[str, tuple[int, int]] = {}
    master = next(iter(package.related(layout, "slideMaster")), None) if layout else None
    for part in (master, layout):
        tree = child(package.part(part), "cSld", "spTree")
        for shape in _shapes(tree):
            offset = child(shape, "spPr", "xfrm", "off")
            if offset is not None:
                place = (int(attribute(offset, "y") or 0), int(attribute(offset, "x") or 0))
                found |= dict.fromkeys(_keys(shape), place)
    return found


def _keys(shape: Element) -> list[str]:
    placeholder = _placeholder(shape)
    if placeholder is None:
        return []
    index, kind = attribute(placeholder, "idx"), attribute(placeholder, "type") or "body"
    return [*([f"idx {index}"] if index else []), f"type {kind}"]


def _placeholder(shape: Element) -> Element | None:
    return next((e for part in shape if name_of(part).startswith("nv") for e in part.iter("{*}ph")), None)


def _kind(shape: Element) -> str:
    return attribute(_placeholder(shape), "type") or ""


def _notes(root: Element | None) -> str:
    """The page also repeats the slide and its number, which are other placeholders."""
    shapes = (s for s in root.iter("{*}sp") if _kind(s) in {"body", ""}) if root is not None else ()
    bodies = (body for shape in shapes if (body := child(shape, "txBody")) is not None)
    return " ".join(" ".join(drawings.paragraphs(body)) for body in bodies).strip()


def _comments(package: Package, part: str) -> list[str]:
    lines: list[str] = []
    for name in package.related(part, "comments"):
        root = package.part(name)
        for comment in root.iter() if root is not None else ():
            if name_of(comment) in {"cm", "reply"}:
                text = child(comment, "text")
                said = (text.text if text is not None else None) or " ".join(drawings.paragraphs(comment))
                lines.append(f"Comment: {' '.join(said.split())}")
    return lines
