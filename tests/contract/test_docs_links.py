"""What the guides point at exists: pages, headings within them, and the commands they tell people to type."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
import typer
from markdown_it import MarkdownIt
from typer.exceptions import TyperException

from aperag_cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
TOP = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "THIRD_PARTY.md",
    "llms.txt",
    "bench/README.md",
    "deploy/README.md",
)
TEMPLATE = ROOT / "docs" / "adr" / "0000-template.md"
"""Its links are to be filled in."""
PAGES = [*(ROOT / name for name in TOP), *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p != TEMPLATE)]
SHELLS = {"sh", "bash", "shell"}
SEPARATORS = {"&&", "||", ";", "|"}
REDIRECTIONS = {"<", ">", ">>"}
ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=")
INLINE = re.compile(r"aperag [a-z][^`]*")
PLACEHOLDERS = re.compile(r"[…|<>\[\]]")
"""In running text, `aperag down | status` names commands and types none."""


class Command(NamedTuple):
    """``named`` in running text; in a shell block it is a line that a reader is told to type."""

    line: str
    named: bool


def parsed(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def inline(text: str) -> Iterator[Token]:
    for token in parsed(text):
        yield from token.children or ()


def links(text: str) -> list[str]:
    return [str(token.attrs["href"]) for token in inline(text) if token.type == "link_open"]


def anchors(text: str) -> set[str]:
    """As code forges make them: lower case, blanks as hyphens, everything but letters, digits and hyphens left out."""
    tokens = parsed(text)
    headings = (after for before, after in pairwise(tokens) if before.type == "heading_open")
    found: set[str] = set()
    for heading in headings:
        words = "".join(child.content for child in heading.children or ())
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        number = sum(known == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", known) is not None for known in found)
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


def broken(page: Path, text: str) -> list[str]:
    """The links of ``text``, which stands at ``page``, that lead nowhere."""
    wrong: list[str] = []
    for link in links(text):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        readable = target.exists() and target.is_relative_to(ROOT)
        if not readable or (parts.fragment and parts.fragment not in anchors(target.read_text(encoding="utf-8"))):
            wrong.append(link)
    return wrong


def commands(text: str) -> Iterator[Command]:
    """Every `aperag …` in shell blocks, continued lines joined, and in running text."""
    for token in parsed(text):
        if token.type == "fence" and token.info.strip() in SHELLS:
            yield from (Command(line, named=False) for line in typed(token.content.replace("\\\n", " ")))
        yield from (
            Command(child.content, named=True)
            for child in token.children or ()
            if child.type == "code_inline"
            and INLINE.fullmatch(child.content)
            and not PLACEHOLDERS.search(child.content)
        )


def typed(block: str) -> Iterator[str]:
    for line in block.splitlines():
        if "aperag" not in line:
            continue
        words = shlex.split(line, comments=True)
        starts = [0, *(at + 1 for at, word in enumerate(words) if word in SEPARATORS), len(words) + 1]
        for start, end in pairwise(starts):
            part = words[start : end - 1]
            while part and ASSIGNMENT.match(part[0]):
                part = part[1:]
            part = list(takewhile(lambda word: word not in REDIRECTIONS, part))
            if part[:1] == ["aperag"]:
                yield shlex.join(part)


def parse(line: str, *, named: bool = False) -> None:
    """Raises a usage error for a command, option, argument or value that does not exist; runs nothing.

    A command that a text only names may lack its arguments.
    """
    name, *words = (word for word in shlex.split(line) if word != "--help")
    command: Any = typer.main.get_command(app)
    context: Any = None
    while True:
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
        below = getattr(context.command, "commands", None)  # that of a lazy command is the one it stands for
        if below is None or not words:
            break
        name, *words = words
        if name not in below:
            message = f"{context.command_path} has no command {name!r}"
            raise typer.BadParameter(message)
        command = below[name]
    if words or not named:
        # The document of an example need not exist: any path that does will do.
        arguments = ["." if word.startswith("./") else word for word in words]
        context.command.make_context(name, arguments, parent=context.parent)


COMMANDS = [
    pytest.param(command, id=f"{page.relative_to(ROOT).as_posix()}: {command.line}")
    for page in PAGES
    for command in dict.fromkeys(commands(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_a_page_names_exists(command: Command) -> None:
    parse(command.line, named=command.named)


def test_links_that_lead_nowhere_are_noticed() -> None:
    text = "[a](no-such.md) [b](docs/README.md#no-such) [c](#here) [d](docs/README.md#guides) [e](../) [f](https://x.y)\n\n# Here\n"
    here = ROOT / "README.md"
    assert broken(here, text.replace("#here", "#there")) == ["no-such.md", "docs/README.md#no-such", "#there", "../"]


@pytest.mark.parametrize(
    "line",
    [
        "aperag dwon",
        "aperag documents uplaod A b",
        "aperag up --detached",
        "aperag search A b --topk many",
        "aperag search A",
        "aperag logs",
        "aperag search A b c",
    ],
)
def test_commands_that_do_not_exist_are_noticed(line: str) -> None:
    with pytest.raises(TyperException):
        parse(line)


def test_commands_are_found_wherever_a_shell_would_find_them() -> None:
    text = (
        "```sh\nA=1 aperag up -d && aperag down  # and again\necho aperag\n```\nNow `aperag doctor`, `aperag x | y`.\n"
    )
    assert [command.line for command in commands(text)] == ["aperag up -d", "aperag down", "aperag doctor"]
    assert [command.named for command in commands(text)] == [False, False, True]


def test_every_guide_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / link).resolve() for link in links(index.read_text(encoding="utf-8"))}
    assert {page for page in (ROOT / "docs").glob("*.md") if page != index} <= named
