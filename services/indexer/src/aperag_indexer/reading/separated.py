"""CSV as one table: whatever separates its cells, whatever its quotes are like."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Literal

from aperag_indexer.reading.bounds import check_cells
from aperag_indexer.reading.tables import markdown_table, titled

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEPARATORS = ",;\t|"
_NAMED = re.compile(r"\A\ufeff?\"?sep=(.)\"?[ \t]*\n", re.IGNORECASE)
_SAMPLE_ROWS = 100
_SWALLOWED_LINES = 50
"""A cell of more lines is the rest of a document behind a quote that nobody closed."""

csv.field_size_limit(sys.maxsize)


def markdown_of(text: str) -> str:
    """A line ``sep=;`` at the start names the separator, as Excel writes it; else the one that parts rows most evenly."""
    named = _NAMED.match(text)
    body = text[named.end() :] if named else text
    separator = named.group(1) if named else _separator(body)
    rows = [row for row in _rows(body, separator) if any(cell.strip() for cell in row)]
    above, table = titled(rows)
    return "\n\n".join([*above, markdown_table(table)]) + "\n" if rows else ""


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    """Quotes guard separators; where they are no quotes but inches, they are signs like others."""
    rows = list(_read(text, separator, quoting=csv.QUOTE_MINIMAL))
    if text.count('"') % 2 and any(cell.count("\n") > _SWALLOWED_LINES for row in rows[-1:] for cell in row):
        rows = list(_read(text, separator, quoting=csv.QUOTE_NONE))
    return iter(rows)


def _read(text: str, separator: str, *, quoting: Literal[0, 3]) -> Iterator[list[str]]:
    escaped = '\\"' in text and '""' not in text
    lines = text.split("\n")
    cells = 0
    for row in csv.reader(
        (f"{line}\n" for line in lines), delimiter=separator, quoting=quoting, escapechar="\\" if escaped else None
    ):
        cells += len(row)
        check_cells(cells)
        yield row


def _separator(text: str) -> str:
    sample = text[: 100 * 1000]

    def evenness(separator: str) -> tuple[float, int]:
        widths = Counter(
            len(row) for row in islice(_read(sample, separator, quoting=csv.QUOTE_MINIMAL), _SAMPLE_ROWS) if row
        )
        widths.pop(1, None)
        if not widths:
            return 0.0, 0
        width, rows = max(widths.items(), key=lambda item: (item[1], item[0]))
        return rows, width

    best = max(_SEPARATORS, key=evenness)
    return best if evenness(best) > (0.0, 0) else ","
