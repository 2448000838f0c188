"""How commands print: tables for people or JSON for programs on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import RenderableType

WIDE = 500
"""Columns where nobody looks: what is piped into another program is not broken into lines."""


class Output(StrEnum):
    """For people or for programs."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Output format.")]


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(file=stream, width=width, highlight=False, soft_wrap=stderr)


@dataclass(frozen=True, slots=True)
class Printer:
    output: Output
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def whole(self, value: object, table: Callable[[], RenderableType]) -> None:
        """The one answer of a command."""
        if self.output is Output.JSON:
            self._json(value, indent=2)
        else:
            self.out.print(table())

    def line(self, value: object, text: RenderableType) -> None:
        """One of a stream of answers, at once."""
        if self.output is Output.JSON:
            self._json(value, indent=None)
        else:
            self.out.print(text)
        self.out.file.flush()

    def note(self, message: str) -> None:
        """Progress and warnings."""
        self.err.print(plain(message))

    def _json(self, value: object, *, indent: int | None) -> None:
        self.out.file.write(_encodable(json.dumps(value, ensure_ascii=False, indent=indent)) + "\n")


def plain(value: object) -> Text:
    """What a person or a server wrote, without markup and without characters that steer a terminal."""
    text = "" if value is None else _encodable(str(value))
    return Text("".join(" " if unicodedata.category(it) == "Cc" and it != "\n" else it for it in text))


def _encodable(text: str) -> str:
    """Names on disk may be any bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, title: str | None = None) -> Table:
    """One line for each row; ``columns`` are the names of what is shown of it."""
    made = Table(title=title, title_justify="left")
    for column in columns:
        # An id that is cut cannot be copied.
        made.add_column(column.replace("_", " "), no_wrap=column in {"id", "task_id"}, overflow="fold")
    for row in rows:
        made.add_row(*(plain(row.get(column)) for column in columns))
    return made


def details(row: Mapping[str, Any]) -> Text:
    """One thing with all that is known about it; what is empty is left out."""
    filled = {name: value for name, value in row.items() if value not in (None, "", [], {})}
    width = max(map(len, filled), default=0)
    lines = [Text.assemble((f"{name:<{width}}  ", "bold"), plain(_shown(value))) for name, value in filled.items()]
    return Text("\n").join(lines)


def _shown(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
