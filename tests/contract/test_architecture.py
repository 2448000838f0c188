"""docs/architecture.md names files, functions and calls that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PLACE = re.compile(r"`((?:aperag_\w+|tests)/[\w/.]+?)(?:::([\w.]+))?`")
HOP = re.compile(r"`(aperag_\w+/[\w/.]+\.py::[\w.]+)` (?:\||calls) `(\w+)`")


def path_of(name: str) -> Path:
    """The page leaves out ``libs/<package>/src`` and ``services/<package>/src``."""
    found = [ROOT / name, *(root / name for pattern in ("libs", "services") for root in ROOT.glob(f"{pattern}/*/src"))]
    return next((path for path in found if path.exists()), ROOT / name)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def node_of(place: str) -> ast.AST | None:
    """The function, class or module variable that ``path::Class.method`` names."""
    name, _, symbol = place.partition("::")
    node: ast.AST | None = tree_of(path_of(name))
    for part in symbol.split("."):
        inside = node.body if isinstance(node, ast.Module | ast.ClassDef) else []
        node = next((it for it in inside if part in _names(it)), None)
    return node


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {it.id for it in targets if isinstance(it, ast.Name)}


def calls_in(node: ast.AST) -> set[str]:
    functions = [it.func for it in ast.walk(node) if isinstance(it, ast.Call)]
    return {
        it.attr if isinstance(it, ast.Attribute) else it.id
        for it in functions
        if isinstance(it, ast.Attribute | ast.Name)
    }


def test_every_place_on_the_page_exists() -> None:
    places = PLACE.findall(PAGE)
    assert len(places) > 30
    assert [name for name, _ in places if not path_of(name).exists()] == []
    named = [f"{name}::{symbol}" for name, symbol in places if symbol]
    assert [place for place in named if node_of(place) is None] == []


def test_every_hop_of_the_two_lives_is_a_real_call() -> None:
    hops = HOP.findall(PAGE)
    steps = re.findall(r"^\| \d+\. ", PAGE, re.MULTILINE)
    assert len(hops) == len(steps) + 1  # and the search
    assert [hop for hop in hops if hop[1] not in calls_in(node_of(hop[0]) or ast.Module([], []))] == []
