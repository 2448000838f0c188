"""Pages made by scripts say what the code and the lock file say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from aperag_agent.settings import Settings as AgentSettings
from aperag_api.edge.settings import Settings as ApiSettings
from aperag_console.settings import Settings as ConsoleSettings
from aperag_indexer.settings import Settings as IndexerSettings
from aperag_mcp.settings import Settings as McpSettings
from aperag_reconciler.settings import Settings as ReconcilerSettings
from aperag_webhooks.settings import Settings as WebhooksSettings

ROOT = Path(__file__).parents[2]
SCRIPTS = ("settings_table.py", "messages.py", "events_table.py", "third_party.py")
CLASSES = {
    "agent": AgentSettings,
    "api": ApiSettings,
    "indexer": IndexerSettings,
    "console": ConsoleSettings,
    "mcp": McpSettings,
    "reconciler": ReconcilerSettings,
    "webhooks": WebhooksSettings,
}
ROW = re.compile(
    r"^\| (?P<names>`APERAG_[^|]+) \| (?P<default>[^|]+) \| [^|]+ \| (?P<readers>[a-z, ]+) \|$", re.MULTILINE
)


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def documented() -> list[tuple[str, str, str]]:
    """Each variable, aliases too, with its default and one service that reads it."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    return [
        (
            name.strip("`"),
            row["default"].strip("`"),
            "api" if row["readers"] == "all" else row["readers"].split(", ")[0],
        )
        for row in ROW.finditer(page)
        for name in row["names"].split("<br>")
    ]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_generated_page_is_up_to_date(script: str) -> None:
    done = run(script, "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_page_edited_by_hand_is_noticed(script: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert run(script, "--target", str(page)).returncode == 0
    written = page.read_text(encoding="utf-8")
    edited = written.replace("| ", "|  ", 1).replace('": ', '":  ', 1)
    assert edited != written
    page.write_text(edited, encoding="utf-8")
    done = run(script, "--check", "--target", str(page))
    assert done.returncode == 1
    assert str(page) in done.stderr


def test_every_documented_variable_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A value that no field takes must be refused, or change a field of text: then the name is one that is read."""
    monkeypatch.chdir(tmp_path)
    unread = []
    for name, _, service in documented():
        settings = CLASSES[service]
        before = settings().model_dump()
        with monkeypatch.context() as patched:
            patched.setenv(name, "no-such-value")
            try:
                after = settings().model_dump()
            except ValueError:
                continue
        if after == before:
            unread.append(name)
    assert unread == []
    assert len(documented()) > len(ApiSettings.model_fields)


@pytest.mark.parametrize(("name", "default", "service"), [row for row in documented() if row[1] != "—"])
def test_a_documented_default_changes_nothing(
    name: str, default: str, service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = CLASSES[service]().model_dump()
    monkeypatch.setenv(name, default)
    assert CLASSES[service]().model_dump() == before
