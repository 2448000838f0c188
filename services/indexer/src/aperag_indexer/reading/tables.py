"""Rows of cells as a Markdown table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_indexer.reading.bounds import check_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_TITLE = 120
MOST_TITLES = 10


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the header; every row gets as many cells as the longest."""
    width = max(map(len, rows), default=0)
    check_cells(width * len(rows))
    lines = [f"| {' | '.join(_cell(row[n]) if n < len(row) else '' for n in range(width))} |" for row in rows]
    return "\n".join([*lines[:1], "|" + " --- |" * width, *lines[1:]])


def titled(rows: Sequence[list[str]]) -> tuple[list[str], list[list[str]]]:
    """What stands alone in the first rows is a title and no header: its lines, and the table without empty columns.

    The first of the lines is a heading, so that every part of a long table knows it.
    """
    above: list[str] = []
    most = max((_filled(row) for row in rows), default=0)
    while len(rows) > 1 and most > 1 and _filled(rows[0]) == 1 and len(above) < MOST_TITLES:
        above.append(" ".join("".join(rows[0]).split()))
        rows = rows[1:]
    width = max(map(len, rows), default=0)
    check_cells(width * len(rows))
    used = [n for n in range(width) if any(n < len(row) and row[n] for row in rows)]
    if above and len(above[0]) <= LONGEST_TITLE:
        above[0] = f"### {above[0]}"
    return above, [[row[n] if n < len(row) else "" for n in used] for row in rows]


def _filled(row: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
