"""The check for dead code sees what it is there for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_nothing_uses_is_found_and_fields_are_not(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("dead_code", ROOT / "scripts/dead_code.py")
    assert spec is not None
    assert spec.loader is not None
    dead_code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dead_code)
    package = tmp_path / "src" / "tea"
    package.mkdir(parents=True)
    (package / "pot.py").write_text("class Pot:\n    size: int = 1\n\ndef pour(): ...\ndef wash(): ...\nPot\npour()\n")
    assert dead_code.unused([tmp_path / "src"]) == {"tea.pot:wash"}
