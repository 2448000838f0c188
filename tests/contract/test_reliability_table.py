"""The tests that the reliability guide names are there, and none of them is named by mistake."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "reliability.md"


def defined() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        found |= {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, functions)}
    return found


def test_every_test_that_the_reliability_guide_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", GUIDE.read_text(encoding="utf-8"))
    assert len(named) > 50
    assert sorted(set(named) - defined()) == []
    assert sorted({name for name in named if named.count(name) > 1}) == []


def test_every_forced_interleaving_stands_in_the_reliability_guide() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    modules = [
        *(ROOT / "tests/integration").rglob("test_interleavings*.py"),
        *(ROOT / "tests/integration/recovery").glob("test_*.py"),
    ]
    tests = [name for path in modules for name in re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))]
    assert [name for name in tests if f"`{name}`" not in guide] == []
