"""How far an upload is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from aperag_cli.commands.uploads.walk import Source

LINES = 10
"""So many lines tell of a whole upload where there is no terminal."""


class View(Protocol):
    def sent(self, size: int) -> None:
        """So many more bytes are on their way; negative where a request broke off."""

    def passed(self, sources: Sequence[Source]) -> None:
        """These have been answered."""

    def note(self, message: str) -> None: ...


@dataclass(slots=True)
class Lines:
    """Writes a line each time another tenth of the documents has been answered."""

    total: int
    tell: Callable[[str], None]
    done: int = 0
    size: int = 0
    _told: int = 0

    def sent(self, size: int) -> None:
        self.size += size

    def passed(self, sources: Sequence[Source]) -> None:
        self.done += len(sources)
        tenths = self.done * LINES // max(self.total, 1)
        if tenths > self._told:
            self._told = tenths
            self.tell(f"{self.done} of {self.total} documents, {decimal(self.size)}")

    def note(self, message: str) -> None:
        self.tell(message)


@dataclass(slots=True)
class Bar:
    """Bytes fill it; documents are counted beside it."""

    total: int
    bytes: int
    console: Console
    done: int = 0
    progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.fields[documents]}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.progress.add_task("", total=self.bytes, documents=self._documents())

    def sent(self, size: int) -> None:
        self.progress.advance(self.progress.task_ids[0], size)

    def passed(self, sources: Sequence[Source]) -> None:
        self.done += len(sources)
        self.progress.update(self.progress.task_ids[0], documents=self._documents())

    def note(self, message: str) -> None:
        self.progress.console.print(message, markup=False)

    def _documents(self) -> str:
        return f"{self.done} of {self.total} documents"


@contextmanager
def viewing(console: Console, sources: Sequence[Source]) -> Iterator[View]:
    if not console.is_terminal:
        yield Lines(len(sources), tell=lambda message: console.print(message, markup=False))
        return
    bar = Bar(len(sources), sum(source.size for source in sources), console)
    with bar.progress:
        yield bar


@contextmanager
def counting(console: Console, total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Tell with each call how many of ``total`` are done."""
    if not console.is_terminal:
        told = 0

        def tell(done: int) -> None:
            nonlocal told
            tenths = done * LINES // max(total, 1)
            if tenths > told:
                told = tenths
                console.print(f"{done} of {total} {what}", markup=False)

        yield tell
        return
    columns = (TextColumn("{task.completed} of {task.total} " + what), BarColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)
