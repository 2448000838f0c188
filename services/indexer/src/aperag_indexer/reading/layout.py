"""The blocks that were found on printed pages, as Markdown that keeps rows apart and joins wrapped lines."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LONGEST_HEADING = 120
FULL_LINE = 0.8
"""A line that fills this share of its block's width was wrapped by the page, a shorter one was ended by its author."""
MOSTLY = 0.6
NARROWEST_PROSE = 45
KEPT_LETTERS = 0.7
"""A page whose blocks hold fewer of its letters than this is given as plain text: nothing may get lost."""
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uff00-\uffef]")
_BROKEN_WORD = re.compile("[\x02\ufffe\u00ad]\n?")
_CUT_IDENTIFIER = re.compile(r"(?:^|[\s(/])(?:[A-Z]+|[\w.-]*\d[\w.-]*)-$")
_HYPHEN = re.compile(r"[^\W\d_]-$")


def pages_of(
    nodes: Iterable[Mapping[str, Any]], table_pages: Sequence[int], plain: Mapping[int, str]
) -> dict[int, str]:
    """Markdown by page number as the reader counts (from 1).

    ``nodes`` are its blocks in reading order; tables do not say where they stand, ``table_pages`` does, in the same
    order. ``plain`` holds every page as plain text.
    """
    blocks: dict[int, list[str]] = defaultdict(list)
    tables = iter(table_pages)
    page = 1
    for node in nodes:
        content = node["content"]
        kind = content["node_type"]
        page = node.get("page") or (next(tables, page) if kind == "table" else page)
        text = _block(kind, content)
        if text:
            blocks[page].append(text)
    found = {number: "\n\n".join(parts) for number, parts in blocks.items()}
    return {number: _fuller(found.get(number, ""), plain.get(number, "")) for number in {*found, *plain}}


def _fuller(markdown: str, plain: str) -> str:
    if _letters(markdown) >= KEPT_LETTERS * _letters(plain):
        return markdown
    return unwrap(plain)


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _block(kind: str, content: Mapping[str, Any]) -> str:
    if kind == "table":
        return _table(content["grid"])
    text = _clean(str(content.get("text") or "")).strip()
    if not text:
        return ""
    if kind == "heading" and _is_title(text):
        return f"{'#' * min(int(content['level']), 6)} {' '.join(text.split())}"
    if kind == "code":
        return f"```\n{text}\n```"
    return f"- {unwrap(text)}" if kind == "list_item" else unwrap(text)


def _is_title(text: str) -> bool:
    """Large or bold print is often a table's head or a total; these stay text, or they would part the page."""
    if len(text) > LONGEST_HEADING or text.count("\n") > 1:
        return False
    digits = sum(map(str.isdigit, text))
    return "\n" not in text or digits * 10 < len(text)


def unwrap(text: str) -> str:
    """Join the lines that a page's width broke, and leave those that are rows."""
    lines = [line.strip() for line in _clean(text).split("\n")]
    width = max(map(len, lines))
    full = [len(line) >= FULL_LINE * width for line in lines[:-1]]
    prose = width >= NARROWEST_PROSE and len(full) > 1 and sum(full) >= MOSTLY * len(full)
    joined = lines[:1]
    for (before, line), is_full in zip(pairwise(lines), full, strict=True):
        if before and line and _goes_on(before, line, is_wrapped=prose and is_full):
            joined[-1] = _joined(joined[-1], line)
        else:
            joined.append(line)
    return "\n".join(joined).strip()


def breaks_identifier(text: str) -> bool:
    """Whether a line ends inside what is no word, as X-100: its hyphen stays."""
    return any(map(_is_identifier, _BROKEN_WORD.finditer(text.replace("\r", ""))))


def _clean(text: str) -> str:
    """PDF readers give a hyphen at a line's end as U+0002 or U+FFFE, between the word's halves."""
    return _BROKEN_WORD.sub(lambda found: "-" if _is_identifier(found) else "", text.replace("\r", ""))


def _is_identifier(found: re.Match[str]) -> bool:
    before = found.string[: found.start()].rpartition(" ")[2].rpartition("\n")[2]
    after = found.string[found.end() : found.end() + 1]
    return after.isdigit() or any(map(str.isdigit, before)) or (after.isupper() and len(before) > 0)


def _goes_on(before: str, line: str, *, is_wrapped: bool) -> bool:
    if _CUT_IDENTIFIER.search(before) and line[0].isalnum():
        return True
    return not _has_figures(before + line) and (line[0].islower() or is_wrapped)


def _has_figures(text: str) -> bool:
    return sum(map(str.isdigit, text)) * 7 > len(text)


def _joined(before: str, line: str) -> str:
    if _CUT_IDENTIFIER.search(before) and line[0].isalnum():
        return before + line
    if _HYPHEN.search(before) and line[0].islower():
        return before[:-1] + line
    if _CJK.match(before[-1]) and _CJK.match(line[0]):
        return before + line
    return f"{before} {line}"


def _table(grid: Mapping[str, Any]) -> str:
    rows = [["" for _ in range(grid["cols"])] for _ in range(grid["rows"])]
    for cell in grid["cells"]:
        rows[cell["row"]][cell["col"]] = " ".join(str(cell["content"]).split()).replace("|", "\\|")
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines[:1], "|" + " --- |" * grid["cols"], *lines[1:]])
