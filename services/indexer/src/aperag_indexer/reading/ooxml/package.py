"""Office Open XML as what it is: a zip of XML parts that name each other by relationships."""

from __future__ import annotations

import posixpath
import zipfile
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from lxml.etree import XMLParser, XMLSyntaxError, fromstring, iterparse

from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Element = Any
"""An lxml element."""

_CONTENT_TYPES = "[Content_Types].xml"
_MAIN = "officeDocument"


class Relation(NamedTuple):
    """``kind`` is the last word of the relationship's type; both dialects of the standard share it."""

    kind: str
    target: str


class Package:
    """Names of elements are compared without their namespace: Strict and Transitional differ in nothing else here."""

    def __init__(self, packed: zipfile.ZipFile) -> None:
        self._packed = packed
        self.names = {name.lower(): name for name in packed.namelist()}

    @cached_property
    def main(self) -> str | None:
        """The main part, which only relationships name: some programs call it ``word/document2.xml``."""
        return next((r.target for r in self.relations("").values() if r.kind == _MAIN), None)

    @cached_property
    def main_type(self) -> str:
        """The content type of the main part; empty where there is none."""
        wanted = f"/{self.main}".lower()
        types = self.part(_CONTENT_TYPES)
        if types is None or self.main is None:
            return ""
        own = (t.get("ContentType", "") for t in types if t.get("PartName", "").lower() == wanted)
        suffix = wanted.rpartition(".")[2]
        default = (t.get("ContentType", "") for t in types if t.get("Extension", "").lower() == suffix)
        return next(own, None) or next(default, "")

    def has(self, name: str) -> bool:
        return name.lower() in self.names

    def read(self, name: str) -> bytes:
        return self._packed.read(self.names[name.lower()])

    def part(self, name: str | None) -> Element | None:
        """The root element; None where there is no such part."""
        return parsed(self.read(name)) if name is not None and self.has(name) else None

    def elements(self, name: str, tags: Iterable[str]) -> Iterator[Element]:
        """Of a large part, one after the other; each is forgotten when the next one comes."""
        with self._packed.open(self.names[name.lower()]) as stream:
            try:
                for _, element in iterparse(stream, tag=[f"{{*}}{tag}" for tag in tags], resolve_entities=False):
                    yield element
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
            except XMLSyntaxError as err:
                raise _damaged(err) from None

    def relations(self, part: str) -> dict[str, Relation]:
        """What a part refers to inside the package, by the ids it uses."""
        folder, _, name = part.rpartition("/")
        root = self.part(f"{folder}/_rels/{name}.rels".lstrip("/"))
        if root is None:
            return {}
        inside = (r for r in root.iter("{*}Relationship") if r.get("TargetMode") != "External")
        return {
            r.get("Id", ""): Relation(
                r.get("Type", "").rpartition("/")[2],
                posixpath.normpath(posixpath.join("/", folder, unquote(r.get("Target", ""))))[1:],
            )
            for r in inside
        }

    def related(self, part: str, kind: str) -> list[str]:
        return [r.target for r in self.relations(part).values() if r.kind == kind and self.has(r.target)]


def opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as err:
        raise _damaged(err) from None


def parsed(data: bytes) -> Element:
    """Entities are left alone: Office writes none, attackers do."""
    parser = XMLParser(resolve_entities=False, no_network=True, remove_comments=True)
    try:
        return fromstring(data, parser)
    except XMLSyntaxError as err:
        raise _damaged(err) from None


def name_of(element: Element) -> str:
    """Without its namespace; empty for processing instructions and entities."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Element | None, name: str) -> str | None:
    """By its name without namespace."""
    if element is None:
        return None
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def child(element: Element | None, *path: str) -> Element | None:
    for name in path:
        element = None if element is None else next((e for e in element if name_of(e) == name), None)
    return element


def children(element: Element | None, name: str) -> Iterator[Element]:
    return iter(()) if element is None else (e for e in element if name_of(e) == name)


def value_of(element: Element | None, *path: str) -> str | None:
    """The ``val`` of the element at the end of the path."""
    return attribute(child(element, *path), "val")


def is_on(element: Element | None, *path: str) -> bool:
    """Whether a switch is there and not switched off."""
    switch = child(element, *path)
    return switch is not None and attribute(switch, "val") not in {"0", "false", "off", "none"}


def _damaged(err: Exception) -> errors.CorruptDocument:
    message = f"The document is damaged: {str(err)[:120]}. Save it again and upload that."
    return errors.CorruptDocument(message)
