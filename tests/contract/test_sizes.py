"""Functions stay short and modules stay one concept; the exceptions are named here and may only shrink."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUNCTION_LINES = 40
MODULE_LINES = 300
TEST_LINES = 600

LONG_MODULES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def sources() -> list[Path]:
    found = [p for folder in ("libs", "services") for p in (ROOT / folder).glob("*/src/**/*.py")]
    return [p for p in found if "migrations/versions" not in p.as_posix()]


def lines_of(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def functions_of(path: Path) -> dict[str, int]:
    """Lines of each function."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}


def test_modules_and_their_functions_stay_short() -> None:
    long: dict[str, int] = {}
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        if (lines := lines_of(path)) > LONG_MODULES.get(name, MODULE_LINES):
            long[name] = lines
        for function, length in functions_of(path).items():
            if length > LONG_FUNCTIONS.get(f"{name}:{function}", FUNCTION_LINES):
                long[f"{name}:{function}"] = length
    assert long == {}


def test_test_modules_stay_readable() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    assert {path.name: lines for path in tests if (lines := lines_of(path)) > TEST_LINES} == {}


def test_no_exception_outlives_its_reason() -> None:
    for name in LONG_MODULES:
        assert lines_of(ROOT / name) > MODULE_LINES
