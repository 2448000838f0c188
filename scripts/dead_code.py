"""Fails where packages define what nothing uses; what only a test or another program calls is in dead_code.txt."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from vulture.core import Item, Vulture

ROOT = Path(__file__).parents[1]
ALLOWED = Path(__file__).with_suffix(".txt")
FRAMEWORKS = (
    "@*router.*",
    "@*.post",
    "@*.command",
    "@command",
    "@computed_field",
    "@field_validator",
    "@model_validator",
)
"""Their decorators register what they stand over."""


def unused(packages: list[Path], *users: Path) -> set[str]:
    """``package.module:name``; ``users`` may use it, and are not looked at themselves."""
    found = Vulture(ignore_decorators=list(FRAMEWORKS))
    found.scavenge([str(path) for path in (*packages, *users)], exclude=["*/migrations/*"])
    for path in (file for package in packages for file in package.rglob("aperag_cli/app.py")):
        # The command line loads its commands when they are called: it names them as "module:function".
        found.used_names |= set(re.findall(r'"[\w.]+:(\w+)"', path.read_text(encoding="utf-8")))
    return {
        f"{_module(item)}:{item.name}"
        for item in found.get_unused_code()
        if any(item.filename.is_relative_to(path) for path in packages) and not _is_field(item)
    }


def _module(item: Item) -> str:
    _, _, path = item.filename.as_posix().rpartition("/src/")
    return path.removesuffix(".py").replace("/", ".")


def _is_field(item: Item) -> bool:
    """Fields of rows, messages and settings are read by their libraries; of enums, by what arrives."""
    if item.typ not in {"variable", "attribute"}:
        return False
    tree = ast.parse(item.filename.read_text(encoding="utf-8"))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return item.typ == "attribute" or any(
        it.lineno == item.first_lineno
        for node in classes
        for it in node.body
        if isinstance(it, ast.Assign | ast.AnnAssign)
    )


def main() -> int:
    tools = ROOT / "libs/testing/src"
    product = [path for path in (*ROOT.glob("libs/*/src"), *ROOT.glob("services/*/src")) if path != tools]
    found = unused(product, ROOT / "scripts") | unused([tools], ROOT / "tests", ROOT / "bench")
    lines = (line.partition("#")[0].strip() for line in ALLOWED.read_text(encoding="utf-8").splitlines())
    allowed = {line for line in lines if line}
    for name in sorted(found - allowed):
        sys.stdout.write(f"{name} is used by nothing: remove it, or name it in {ALLOWED.name} with the reason\n")
    for name in sorted(allowed - found):
        sys.stdout.write(f"{name} stands in {ALLOWED.name}, but is used, or gone: remove the line\n")
    return int(found != allowed)


if __name__ == "__main__":
    sys.exit(main())
