"""The blocks of a Markdown text and the smallest pieces a chunk may be cut into; all are spans of the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from aperag_retrieval.analysis import HAN, HANGUL, KANA, UNSPACED

_SINGLE = f"{HAN}{KANA}{HANGUL}{UNSPACED}"
TOKEN = re.compile(f"[{_SINGLE}]|[^\\W{_SINGLE}]{{1,6}}|[^\\w\\s]{{1,6}}")
"""One match is one token: a character of an Eastern script, six letters of a word, a run of signs."""

_LINE = re.compile(r"[^\n]*\n?")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_BELOW_HEAD = re.compile(r"[ \t]*\|(?:[ \t]{0,100}:?-{1,1000}:?[ \t]{0,100}\|)+[ \t]*\n")
# Every repeat is bounded: a wall of dots must not be scanned from each of them to its end.
_SENTENCE_END = re.compile(r"[.!?…]{1,4}[\"'”’)\]]{0,3}(?=\s)|[。！？｡]{1,4}[」』”’）]{0,3}|\n")
LONGEST_TITLE = 200


class BlockKind(StrEnum):
    HEADING = "heading"
    PROSE = "prose"
    TABLE = "table"
    CODE = "code"


class Block(NamedTuple):
    """``level`` and ``title`` are a heading's."""

    kind: BlockKind
    start: int
    end: int
    tokens: int
    level: int = 0
    title: str = ""


class Piece(NamedTuple):
    start: int
    end: int
    tokens: int


def count_tokens(text: str, start: int, end: int) -> int:
    return len(TOKEN.findall(text, start, end))


def blocks(text: str) -> Iterator[Block]:
    """Headings, tables, code fences and the prose between them; blank lines belong to no block."""
    kind: BlockKind | None = None
    start = end = 0
    fence = ""
    for line in _LINE.finditer(text):
        row = line.group()
        if fence:
            end = line.end()
            if row.strip().startswith(fence) and not row.strip().strip(fence[0]):
                fence = ""
                yield _block(text, BlockKind.CODE, start, end)
                kind = None
            continue
        opened = _FENCE.match(row)
        now = BlockKind.CODE if opened else _kind(row)
        if kind is not None and (now is not kind or now is BlockKind.HEADING or opened):
            yield _block(text, kind, start, end)
            kind = None
        if now is not None:
            start = line.start() if kind is None else start
            kind, end = now, line.end()
        fence = opened.group(1) if opened else ""
    if kind is not None:
        yield _block(text, kind, start, end)


def pieces(text: str, block: Block, largest: int) -> Iterator[Piece]:
    """Rows of tables and code, sentences of prose; what is longer than ``largest`` tokens is cut between words."""
    start = block.start
    ends = (
        (match.end() for match in _SENTENCE_END.finditer(text, block.start, block.end))
        if block.kind is BlockKind.PROSE
        else (match.end() for match in _LINE.finditer(text, block.start, block.end))
    )
    for end in ends:
        if end > start:
            yield from _cut(text, start, end, largest)
            start = end
    if start < block.end:
        yield from _cut(text, start, block.end, largest)


def table_head(text: str, block: Block, largest: int) -> Piece | None:
    """The header of a table and the line below it; None where the table has none of at most ``largest`` tokens."""
    names = text.find("\n", block.start, block.end) + 1
    end = text.find("\n", names, block.end) + 1
    # Not counted where it cannot fit: every cut of a table asks.
    if not names or not end or end - block.start > 12 * largest or not _BELOW_HEAD.match(text, names):
        return None
    tokens = count_tokens(text, block.start, end)
    return Piece(block.start, end, tokens) if tokens <= largest else None


def _kind(row: str) -> BlockKind | None:
    if not row.strip():
        return None
    if _HEADING.match(row):
        return BlockKind.HEADING
    return BlockKind.TABLE if row.lstrip().startswith("|") else BlockKind.PROSE


def _block(text: str, kind: BlockKind, start: int, end: int) -> Block:
    tokens = count_tokens(text, start, end)
    heading = _HEADING.match(text, start) if kind is BlockKind.HEADING else None
    if heading is None:
        return Block(kind, start, end, tokens)
    title = text[heading.end() : end].strip()
    words, _, closing = title.rpartition(" ")
    if not closing.strip("#"):
        title = words.rstrip()
    return Block(kind, start, end, tokens, level=len(heading.group(1)), title=title[:LONGEST_TITLE])


def _cut(text: str, start: int, end: int, largest: int) -> Iterator[Piece]:
    """One pass over the tokens; a cut falls behind the last space in the second half of a piece, if it has one."""
    if end - start <= largest:  # no more tokens than characters
        yield Piece(start, end, count_tokens(text, start, end))
        return
    first, count = start, 0
    space, space_count = start, 0
    last_end = start
    for token in TOKEN.finditer(text, start, end):
        if token.start() > last_end:
            space, space_count = token.start(), count
        if count == largest:
            cut, kept = (space, space_count) if space_count * 2 > largest else (token.start(), count)
            yield Piece(first, cut, kept)
            first, count = cut, count - kept
            space_count -= kept
        count += 1
        last_end = token.end()
    if first < end:
        yield Piece(first, end, count)
