"""What a node's values take from others: plain references, and templates; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATH = r"nodes\.([A-Za-z0-9_-]+)\.output\.([A-Za-z_][A-Za-z0-9_]*)"
_REFERENCE = re.compile(rf"\s*{{{{\s*{_PATH}\s*}}}}\s*\Z")
_PATHS = re.compile(_PATH)
_NAMED = re.compile(r"\bnodes\.([A-Za-z0-9_-]+)\.output\b")
_MARKS = ("{{", "{%", "{#")


@dataclass(frozen=True, slots=True)
class Reference:
    """To one output of one node; its value is taken as it is, lists included."""

    node_id: str
    output: str

    def __str__(self) -> str:
        return f"nodes.{self.node_id}.output.{self.output}"


def reference_in(value: Any) -> Reference | None:
    """Where the whole value is one."""
    found = _REFERENCE.match(value) if isinstance(value, str) else None
    return None if found is None else Reference(found[1], found[2])


def references_in(template: str) -> Iterable[Reference]:
    """All that can be told without rendering it."""
    return [Reference(*found) for found in _PATHS.findall(template)]


def is_template(value: Any) -> bool:
    return isinstance(value, str) and any(mark in value for mark in _MARKS)


def renderable(template: str) -> str:
    """Ids are names for clients: to the template language one may be a number, a subtraction, or a method of its own."""
    return _NAMED.sub(r"nodes['\1'].output", template)
