"""Functions stay short and modules stay one concept; the exceptions are named here and may only shrink."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTION_LINES = 40
MODULE_LINES = 300
TEST_LINES = 600

LONG_MODULES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def sources() -> list[Path]:
    found = [p for folder in ("libs", "services") for p in (ROOT / folder).glob("*/src/**/*.py")]
    return [p for p in found if "migrations/versions" not in p.as_posix()]


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_module_and_its_functions_stay_short(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONG_MODULES.get(name, MODULE_LINES)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONG_FUNCTIONS.get(f"{name}:{node.name}", FUNCTION_LINES), node.name


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_test_module_stays_readable(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= TEST_LINES


def test_no_exception_outlives_its_reason() -> None:
    for name in LONG_MODULES:
        assert (ROOT / name).read_text(encoding="utf-8").count("\n") > MODULE_LINES
