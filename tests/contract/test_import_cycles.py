"""No import cycle: between modules, nor between the packages of any package; what a function imports counts too."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]

Graph = dict[str, set[str]]


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for folder in (*ROOT.glob("libs/*/src"), *ROOT.glob("services/*/src")):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imported(node: ast.AST) -> Iterator[str]:
    """Names that are imported when this runs, not those for a type checker alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from imported(child)


def graph_of(trees: dict[str, ast.Module]) -> Graph:
    graph: Graph = {name: set() for name in trees}
    for name, tree in trees.items():
        for target in imported(tree):
            module = target if target in trees else target.rpartition(".")[0]
            if module in trees and module != name:
                graph[name].add(module)
    return graph


def of_siblings(graph: Graph) -> Graph:
    """The imports between what lies in one package, each with all that lies below it."""
    packages: Graph = defaultdict(set)
    for name, targets in graph.items():
        for target in targets:
            pairs = list(zip(name.split("."), target.split("."), strict=False))
            shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
            if shared < len(pairs):
                packages[cut(name, shared + 1)].add(cut(target, shared + 1))
    return packages


def cut(name: str, parts: int) -> str:
    return ".".join(name.split(".")[:parts])


def cycle_in(graph: Graph) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        return list(err.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert cycle_in(graph_of(modules())) == []


def test_no_package_imports_itself_by_way_of_its_neighbours() -> None:
    assert cycle_in(of_siblings(graph_of(modules()))) == []


def test_a_cycle_is_found_wherever_its_imports_stand() -> None:
    inside = "from typing import TYPE_CHECKING\ndef late():\n    from p.b import two\n    return two\n"
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.b.two import Two\n"
    other = "import p.a.one\n"
    assert cycle_in(graph_of({"p.a.one": ast.parse(inside), "p.b": ast.parse(other)})) != []
    assert cycle_in(graph_of({"p.a.one": ast.parse(typed), "p.b.two": ast.parse(other)})) == []
    apart = {"p.a.one": ast.parse("from p.b.two import x"), "p.a.three": ast.parse(""), "p.b.two": ast.parse("")}
    assert cycle_in(of_siblings(graph_of(apart))) == []
    apart["p.b.two"] = ast.parse("from p.a import three")
    assert cycle_in(graph_of(apart)) == []
    assert cycle_in(of_siblings(graph_of(apart))) != []
