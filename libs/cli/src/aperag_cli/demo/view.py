"""What the demonstration shows: a bar per document, a table per search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from aperag_cli.client.tracks import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import Console
    from rich.progress import TaskID

    from aperag_cli.client.tracks import Track, Tracks
    from aperag_cli.demo.samples import Question

SNIPPET = 200


class Bars:
    """Redrawn when ``show`` is called after an event."""

    def __init__(self, console: Console, tracks: Tracks) -> None:
        self._tracks = tracks
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[stages]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {
            track.document_id: self._progress.add_task(track.name, total=len(Stage), stages="")
            for track in tracks.by_id.values()
        }

    def show(self) -> None:
        for track in self._tracks.by_id.values():
            reached = len(Stage) if track.settled else len(track.reached)
            self._progress.update(self._tasks[track.document_id], completed=reached, stages=_stages(track))

    def __enter__(self) -> Self:
        self.show()
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.show()
        self._progress.stop()


def _stages(track: Track) -> str:
    if track.failure is not None:
        return f"[red]{escape(track.failure)}[/]"
    return "  ".join(f"[green]{stage} ✓[/]" if stage in track.reached else f"[dim]{stage} ·[/]" for stage in Stage)


def hits_table(question: Question, items: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=f"{question.language}: {question.query}", title_justify="left", title_style="bold", expand=True)
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    table.add_column("document", no_wrap=True)
    table.add_column("found by", no_wrap=True)
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    for item in items:
        score = "" if item["score"] is None else f"{item['score']:.3f}"
        text = " ".join(item["content"].split())
        found_by = item["recall_type"].removesuffix("_search")
        table.add_row(str(item["rank"]), score, escape(item["source"]), found_by, escape(text[:SNIPPET]))
    return table
