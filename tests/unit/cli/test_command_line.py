"""The command line itself: its help, its start-up, its output, and where it finds a gateway and a key."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from aperag_cli import arguments, remote
from aperag_cli.app import COMMANDS, app
from aperag_cli.client.errors import NotAuthorised
from aperag_cli.client.http import Target
from aperag_cli.errors import WrongState
from aperag_cli.exits import MEANINGS, Exit
from aperag_cli.output import Output, Printer, details, plain, table
from aperag_standalone import control
from aperag_standalone.home import Home
from aperag_standalone.supervisor.state import StackState, StackStatus

if TYPE_CHECKING:
    from pathlib import Path

WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
HEAVY = ("httpx", "sqlalchemy", "nats", "psutil", "aperag_common")  # pydantic is Typer's own


def run(*arguments_: str, **env: str | None) -> Any:
    return CliRunner().invoke(app, arguments_, env={**WIDE, **env})


def test_help_names_every_command_and_every_exit_code() -> None:
    shown = " ".join(run("--help").stdout.split())
    assert all(name in shown for name in COMMANDS)
    assert all(f"{code.value} {meaning}" in shown for code, meaning in MEANINGS.items())
    assert set(MEANINGS) == set(Exit)
    assert "--install-completion" in shown


@pytest.mark.parametrize("arguments_", [("--help",), ("documnts",), ("--show-completion",)])
def test_help_and_typing_errors_import_nothing_heavy(arguments_: tuple[str, ...]) -> None:
    code = (
        f"import sys; sys.argv = ['aperag', *{arguments_!r}]\n"
        "from aperag_cli.app import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr.splitlines()[-1] == "[]", ended.stderr


def leaves() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def below(path: tuple[str, ...], command: Any) -> None:
        if (subs := getattr(command, "commands", None)) is None:
            found.append(path)
            return
        for name, sub in subs.items():
            below((*path, name), sub)

    for name, lazy in COMMANDS.items():
        below((name,), lazy.load())
    return found


@pytest.mark.parametrize("path", leaves(), ids=" ".join)
def test_every_command_has_a_help_text_and_explains_every_option(path: tuple[str, ...]) -> None:
    ended = run(*path, "--help")
    assert ended.exit_code == 0, ended.output
    command = COMMANDS[path[0]].load()
    for name in path[1:]:
        command = command.commands[name]
    assert command.help
    assert [it.name for it in command.params if not getattr(it, "help", None) and it.name != "help"] == []


NO_ANSWER = {("up",), ("down",), ("logs",), ("demo",), ("mcp",), ("service", "install"), ("service", "uninstall")}


@pytest.mark.parametrize("path", [path for path in leaves() if path not in NO_ANSWER], ids=" ".join)
def test_every_command_that_answers_does_so_for_programs_too(path: tuple[str, ...]) -> None:
    assert "--output" in run(*path, "--help").stdout


@pytest.mark.parametrize(
    ("arguments_", "warning"),
    [
        (("redrive", "--all"), "aperag: `dlq redrive` is now called `dlq requeue`"),
        (("purge", "--redriven", "--yes"), "aperag: --redriven is now called --requeued"),
    ],
)
def test_an_old_name_works_and_names_the_new_one(arguments_: tuple[str, ...], warning: str) -> None:
    ended = run("dlq", *arguments_, "--url", "http://127.0.0.1:1", "--api-key", "sk-x")
    assert ended.stderr.splitlines().count(warning) == 1
    assert "does not answer" in ended.stderr


def test_a_new_name_says_nothing_of_the_old_one() -> None:
    assert "is now called" not in run("dlq", "requeue", "--all", "--url", "http://127.0.0.1:1", "--api-key", "x").stderr
    assert "redrive" not in run("dlq", "--help").stdout
    assert "--redriven" not in run("dlq", "purge", "--help").stdout


GROUPS = [lazy for lazy in COMMANDS.values() if hasattr(lazy.load(), "commands")]


@pytest.mark.parametrize("lazy", GROUPS, ids=lambda lazy: str(lazy.name))
def test_the_root_says_of_a_group_what_the_group_says(lazy: Any) -> None:
    assert lazy.load().help.startswith(lazy.help)


def test_the_version_is_that_of_the_wheel_or_says_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--version").stdout == "aperag (from a checkout)\n"
    monkeypatch.setattr("aperag_cli.app.version", lambda _: "1.2.3")
    assert run("--version").stdout == "aperag 1.2.3\n"


def test_a_wrong_command_is_a_usage_error_with_a_suggestion() -> None:
    ended = run("documnts")
    assert ended.exit_code == Exit.USAGE
    assert "'documents'" in ended.stderr


def test_without_a_stack_the_way_out_is_told(tmp_path: Path) -> None:
    ended = run("collections", "list", APERAG_HOME=str(tmp_path), APERAG_API_URL=None, APERAG_API_KEY=None)
    assert ended.exit_code == Exit.WRONG_STATE
    assert ended.stdout == ""
    assert "aperag up" in ended.stderr


def printed(output: Output, value: object, shown: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    printer = Printer(output, Console(file=out, width=120), Console(file=err, width=120))
    printer.whole(value, lambda: shown)
    printer.line(value, shown)
    printer.note("by the way")
    return out.getvalue(), err.getvalue()


def test_json_is_one_document_each_and_nothing_else() -> None:
    out, err = printed(Output.JSON, {"title": "[bold]김치\x1b"}, plain("unused"))
    decoder = json.JSONDecoder()
    whole, end = decoder.raw_decode(out)
    assert whole == {"title": "[bold]김치\x1b"}
    assert json.loads(out[end:]) == whole
    assert out[end:].strip().count("\n") == 0
    assert "\x1b" not in out
    assert err == "by the way\n"


def test_what_others_wrote_can_neither_colour_nor_steer_the_terminal() -> None:
    rows = [{"id": "1", "name": "[red]x[/] \x1b[31m \x9b2J"}]
    out, _ = printed(Output.TABLE, rows, table(rows, ("id", "name")))
    assert "[red]x[/]" in out
    assert not {"\x1b", "\x9b"} & set(out)


def test_a_name_that_is_no_text_is_printed_all_the_same() -> None:
    rows = [{"id": "1", "name": "caf\udce9.md"}]
    for output in Output:
        out, _ = printed(output, rows, table(rows, ("id", "name")))
        assert "caf\ufffd.md" in out


def test_details_leave_out_what_is_empty() -> None:
    shown = details({"id": "1", "none": None, "text": "", "list": [], "zero": 0, "config": {"a": 1}}).plain
    assert shown == 'id      1\nzero    0\nconfig  {"a": 1}'


STATE = StackState(
    pid=1,
    status=StackStatus.READY,
    started=datetime.now(UTC),
    api_url="http://127.0.0.1:8000",
    nats_url="nats://127.0.0.1:4222",
    postgres_port=1,
)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """As if one ran there."""
    monkeypatch.setattr(control, "running", lambda _: STATE)
    home = Home(tmp_path)
    home.secrets.mkdir()
    home.api_key.write_text("sk-own\n", encoding="ascii")
    return home


ALONE = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))  # as if they were not installed
from aperag_cli.app import main
sys.argv = ["aperag", *{arguments!r}]
main()
"""


def alone(tmp_path: Path, *arguments_: str) -> subprocess.CompletedProcess[str]:
    """The command line of a machine that has nothing else of ApeRAG."""
    absent = [f"aperag_{it}" for it in ("standalone", "mcp", "common", "work", "retrieval", "models", "api", "indexer")]
    code = ALONE.format(absent=absent, arguments=arguments_)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**WIDE, "APERAG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_alone_it_lists_no_command_that_it_cannot_run(tmp_path: Path) -> None:
    shown = alone(tmp_path, "--help")
    assert shown.returncode == Exit.OK, shown.stderr
    assert "Stack on this machine" not in shown.stdout
    assert " mcp " not in shown.stdout
    assert "Documents and searches" in shown.stdout


@pytest.mark.parametrize(
    ("arguments_", "needed"),
    [(("up",), "aperag-standalone"), (("status", "--help"), "aperag-standalone"), (("mcp",), "aperag-mcp")],
)
def test_alone_a_command_that_it_cannot_run_says_what_is_needed(
    tmp_path: Path, arguments_: tuple[str, ...], needed: str
) -> None:
    ended = alone(tmp_path, *arguments_)
    assert ended.returncode == Exit.FAILED
    assert f"`aperag {arguments_[0]}` needs the package {needed}" in ended.stderr
    assert "uv tool install" in ended.stderr


def test_alone_it_is_a_client_of_any_gateway(tmp_path: Path) -> None:
    ended = alone(tmp_path, "collections", "list", "--url", "http://127.0.0.1:1", "--api-key", "sk-1")
    assert "http://127.0.0.1:1 does not answer" in ended.stderr
    nowhere = alone(tmp_path, "collections", "list")
    assert nowhere.returncode == Exit.USAGE
    assert "--url" in nowhere.stderr
    assert "aperag up" not in nowhere.stderr


def test_the_running_stack_and_its_key_are_the_default(stack: Home) -> None:
    assert remote.resolve(None, None, stack.directory) == Target(STATE.api_url, "sk-own", local=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://127.0.0.1:8000/api/v1/"])
def test_its_own_address_is_the_stack_too(stack: Home, url: str) -> None:
    assert remote.resolve(url, None, stack.directory) == Target(STATE.api_url, "sk-own", local=True)


def test_another_key_is_used_with_the_running_stack(stack: Home) -> None:
    assert remote.resolve(None, "sk-other", stack.directory).api_key == "sk-other"


def test_the_key_of_the_stack_is_never_sent_elsewhere(stack: Home) -> None:
    with pytest.raises(NotAuthorised, match="no API key for https://other"):
        remote.resolve("https://other", None, stack.directory)


def test_a_key_that_cannot_be_read_says_whose_it_is(stack: Home) -> None:
    stack.api_key.unlink()
    with pytest.raises(NotAuthorised, match="cannot read the API key"):
        remote.resolve(None, None, stack.directory)


@pytest.mark.parametrize(
    ("options", "token"), [((), "token"), (("--url", "https://other", "--api-key", "sk-1"), None)], ids=["own", "other"]
)
def test_the_token_for_spans_is_given_to_an_mcp_server_of_this_stack_alone(
    stack: Home, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], token: str | None
) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda _program, _arguments, env: started.append(env))
    stack.traces_token.write_text("token\n", encoding="ascii")
    clean = {"APERAG_HOME": str(stack.directory), "APERAG_TRACES_TOKEN": None, "APERAG_API_URL": None}
    ended = run("mcp", *options, **clean, APERAG_API_KEY=None)
    assert ended.exit_code == 0, ended.output
    assert [env.get("APERAG_TRACES_TOKEN") for env in started] == [token]


def test_a_gateway_elsewhere_needs_no_stack(tmp_path: Path) -> None:
    assert remote.resolve("https://other/api/v1", "sk-1", tmp_path) == Target("https://other", "sk-1")


def test_a_key_alone_needs_a_stack(tmp_path: Path) -> None:
    with pytest.raises(WrongState):
        remote.resolve(None, "sk-1", tmp_path)


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://x:99999", "http://[::1"])
def test_an_address_that_is_none_is_a_usage_error(tmp_path: Path, url: str) -> None:
    with pytest.raises(typer.BadParameter):
        remote.resolve(url, "sk-1", tmp_path)


FOUND = [("Tea", "col1"), ("Tea", "col2"), ("Coffee", "col3")]


@pytest.mark.parametrize(
    ("incomplete", "suggested"),
    [("", ["Coffee", "col1", "col2"]), ("Te", []), ("C", ["Coffee"]), ("col", ["col1", "col2", "col3"])],
)
def test_completion_suggests_what_names_one_collection(incomplete: str, suggested: list[str]) -> None:
    assert [it for it, _ in arguments._suggestions(FOUND, incomplete)] == suggested


@pytest.mark.parametrize(("answer", "code"), [("n", Exit.FAILED), (None, Exit.INTERRUPTED)])
def test_a_question_that_is_not_agreed_to_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, code: Exit
) -> None:
    def asked(_: str, *, err: bool) -> bool:
        assert err
        if answer is None:
            raise typer.Abort
        return answer == "y"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", asked)
    with pytest.raises(typer.Exit) as ended:
        arguments.confirm("Delete it?", yes=False)
    assert ended.value.exit_code == code


def test_who_has_said_yes_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: pytest.fail("asked"))
    arguments.confirm("Delete it?", yes=True)
