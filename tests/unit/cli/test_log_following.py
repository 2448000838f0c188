"""``aperag logs``: the last lines, and the names there are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from aperag_cli.stack import logs
from aperag_standalone.home import Home

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.prepare()
    made.log("api").write_text("".join(f"{number}\n" for number in range(100)), encoding="utf-8")
    return made


def test_the_last_lines_are_shown(home: Home) -> None:
    out = io.StringIO()
    logs.show(out, home, "api", follow=False, lines=3)
    assert out.getvalue() == "97\n98\n99\n"


@pytest.mark.parametrize("name", ["nope", "../secrets/secret_key", ""])
def test_an_unknown_name_lists_those_there_are(home: Home, name: str) -> None:
    with pytest.raises(logs.NoSuchLog) as caught:
        logs.show(io.StringIO(), home, name, follow=False, lines=3)
    assert "api" in caught.value.hint
