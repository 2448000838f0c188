"""A wrong setting is named before anything starts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from aperag_cli.app import app
from aperag_cli.errors import StackFailed
from aperag_cli.stack import config


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("APERAG_TURNS__MAX_OPNE", "3", "did you mean APERAG_TURNS__MAX_OPEN?"),
        ("APERAG_TURNS__MAX_OPEN", "many", "its value is no whole number"),
        ("APERAG_PARSE__TIMEOUT", "soon", "its value is no duration"),
        ("APERAG_RATES__ENABLED", "perhaps", "its value is neither true nor false"),
        ("MAX_DOCUMENT_SIZE", "large", "its value is no whole number"),
    ],
)
def test_a_wrong_setting_is_named_and_keeps_the_stack_from_starting(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("APERAG_PARSE__PAGES", "7")
    ran = CliRunner().invoke(app, ["config", "check", "-o", "json"])
    assert ran.exit_code == 1
    assert [said in it["problem"] for it in json.loads(ran.stdout)] == [True]
    with pytest.raises(StackFailed, match="nothing was started"):
        config.require_sound({name: value, "APERAG_PARSE__PAGES": "7"})


def test_what_is_set_is_shown_and_secrets_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"APERAG_PARSE__PAGES": "7", "APERAG_WORK__STEPS__PARSE__MAX_FAILURES": "2", "APERAG_SECRET_KEY": "s" * 40}
    for name, value in good.items():
        monkeypatch.setenv(name, value)
    assert CliRunner().invoke(app, ["config", "check"]).exit_code == 0
    shown = json.loads(CliRunner().invoke(app, ["config", "show", "-o", "json"]).stdout)
    values = {it["setting"]: it["value"] for it in shown}
    assert values["APERAG_PARSE__PAGES"] == "7"
    assert values["APERAG_SECRET_KEY"] == "****"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m aperag_cli config show -o json | head -c 0"
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
