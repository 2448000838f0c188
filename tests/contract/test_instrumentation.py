"""Libraries are instrumented in one place, and the services go through it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from aperag_common import telemetry

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for part in ("libs", "services") for path in (ROOT / part).glob("*/src/**/*.py"))
HOME = ROOT / "libs/common/src/aperag_common/telemetry/instrumentation.py"
COMPOSITION = {
    "init_fastapi_instrumentation": ROOT / "services/api/src/aperag_api/edge/app.py",
    "init_sqlalchemy_instrumentation": ROOT / "libs/work/src/aperag_work/runtime.py",
}


@pytest.mark.parametrize("name", COMPOSITION)
def test_who_puts_a_service_together_calls_it(name: str) -> None:
    assert callable(getattr(telemetry, name))
    tree = ast.parse(COMPOSITION[name].read_text(encoding="utf-8"))
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    called = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert imported.count(name) == called.count(name) == 1


def test_nobody_else_instruments_fastapi_or_sqlalchemy() -> None:
    mentions = re.compile(
        r"instrumentation\.(fastapi|sqlalchemy)\b.* import |FastAPIInstrumentor|SQLAlchemyInstrumentor"
    )
    found = [path for path in SOURCES if mentions.search(path.read_text(encoding="utf-8"))]
    assert found == [HOME]


async def test_without_an_app_or_engine_nothing_is_instrumented() -> None:
    telemetry.init_fastapi_instrumentation(None)
    telemetry.init_sqlalchemy_instrumentation(None)
