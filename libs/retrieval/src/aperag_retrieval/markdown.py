"""The blocks of a Markdown text and the smallest pieces a chunk may be cut into; all are spans of the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from aperag_retrieval.analysis import HAN, HANGUL, KANA, UNSPACED

_SINGLE = f"{HAN}{KANA}{HANGUL}{UNSPACED}"
TOKEN = re.compile(f"[{_SINGLE}]|[^\\W{_SINGLE}]{{1,6}}|[^\\w\\s]{{1,6}}")
"""One match is one token: a character of an Eastern script, six letters of a word, a run of signs."""

_LINE = re.compile(r"[^\n]*\n?")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}([=-])\1+[ \t]*\n?$")
_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]+(?=\S)", re.MULTILINE)
# Every repeat is bounded: a wall of dots must not be scanned from each of them to its end.
_SENTENCE_END = re.compile(r"[.!?…]{1,4}[\"'”’)\]]{0,3}(?=\s)|[。！？｡]{1,4}[」』”’）]{0,3}|\n")
LONGEST_TITLE = 200


class BlockKind(StrEnum):
    HEADING = "heading"
    PROSE = "prose"
    TABLE = "table"
    CODE = "code"
    LIST = "list"


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
    """Headings, tables, lists, code fences and the prose between them; blank lines belong to no block."""
    reader = _Reader(text)
    for line in _LINE.finditer(text):
        yield from reader.take(line.start(), line.end(), line.group())
    yield from reader.close()


@dataclass
class _Reader:
    """``kind`` is None between blocks; ``last`` is where the last line of the open block began."""

    text: str
    kind: BlockKind | None = None
    start: int = 0
    last: int = 0
    end: int = 0
    fence: str = ""

    def take(self, start: int, end: int, row: str) -> Iterator[Block]:
        if self.fence:
            self.end = end
            if row.strip().startswith(self.fence) and not row.strip().strip(self.fence[0]):
                self.fence = ""
                yield from self.close()
            return
        underlined = self._underlined(row)
        if underlined:
            self.end = end
            yield self._heading(underlined)
            return
        if _is_rule(row) and self.kind is BlockKind.PROSE and "|" in self.text[self.last : self.end]:
            yield from self._open_table(end)
            return
        yield from self._go_on(start, end, row)

    def close(self) -> Iterator[Block]:
        if self.kind is not None:
            yield _block(self.text, self.kind, self.start, self.end)
        self.kind = None

    def _go_on(self, start: int, end: int, row: str) -> Iterator[Block]:
        opened = _FENCE.match(row)
        now = BlockKind.CODE if opened else _kind(row, self.kind)
        if self.kind is not None and (now is not self.kind or now is BlockKind.HEADING or opened):
            yield from self.close()
        if now is not None:
            self.start = start if self.kind is None else self.start
            self.kind, self.last, self.end = now, start, end
        self.fence = opened.group(1) if opened else ""

    def _underlined(self, row: str) -> int:
        """The level of a heading that its underline makes one, as Markdown's older form has it; 0 for others."""
        alone = self.kind is BlockKind.PROSE and self.last == self.start and self.end - self.start <= LONGEST_TITLE
        found = _UNDERLINE.match(row) if alone else None
        if found is None or self.text[self.start : self.end].lstrip().startswith((">", "|")):
            return 0
        return 1 if found.group(1) == "=" else 2

    def _heading(self, level: int) -> Block:
        title = self.text[self.start : self.last + self.text[self.last : self.end].find("\n")].strip()
        tokens = count_tokens(self.text, self.start, self.end)
        self.kind = None
        return Block(BlockKind.HEADING, self.start, self.end, tokens, level, title)

    def _open_table(self, end: int) -> Iterator[Block]:
        """A table without bars at its sides shows only by the rule below its header."""
        header = self.last
        if header > self.start:
            yield _block(self.text, BlockKind.PROSE, self.start, header)
        self.kind, self.start, self.end = BlockKind.TABLE, header, end


def pieces(text: str, block: Block, largest: int) -> Iterator[Piece]:
    """Rows of tables and code, sentences of prose; what is longer than ``largest`` tokens is cut between words."""
    start = block.start
    for end in _ends(text, block):
        if end > start:
            yield from _cut(text, start, end, largest)
            start = end
    if start < block.end:
        yield from _cut(text, start, block.end, largest)


def _ends(text: str, block: Block) -> Iterator[int]:
    if block.kind is BlockKind.LIST:
        return (match.start() for match in _ITEM.finditer(text, block.start + 1, block.end))
    between = _SENTENCE_END if block.kind is BlockKind.PROSE else _LINE
    return (match.end() for match in between.finditer(text, block.start, block.end))


def table_head(text: str, block: Block, largest: int) -> Piece | None:
    """The header of a table and the line below it; None where the table has none of at most ``largest`` tokens."""
    names = text.find("\n", block.start, block.end) + 1
    end = text.find("\n", names, block.end) + 1
    # Not counted where it cannot fit: every cut of a table asks.
    if not names or not end or end - block.start > 12 * largest or not _is_rule(text[names:end]):
        return None
    tokens = count_tokens(text, block.start, end)
    return Piece(block.start, end, tokens) if tokens <= largest else None


def _kind(row: str, before: BlockKind | None) -> BlockKind | None:
    """What a line is, which may depend on the block that it would go on."""
    if not row.strip():
        return None
    if _HEADING.match(row):
        return BlockKind.HEADING
    if row.lstrip().startswith("|") or (before is BlockKind.TABLE and "|" in row):
        return BlockKind.TABLE
    if _ITEM.match(row) or before is BlockKind.LIST:
        return BlockKind.LIST
    return BlockKind.PROSE


def _is_rule(row: str) -> bool:
    """Whether a line is what stands below the header of a table."""
    return "|" in row and "-" in row and not row.strip().strip("|:- \t")


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
