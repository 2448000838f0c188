"""From a parsed document to the chunks that searches return."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from aperag_retrieval.markdown import TOKEN, Block, BlockKind, Piece, blocks, pieces, table_head

CHUNKER_VERSION = "markdown/3"
# A paragraph cut in sentences fills chunks well; a "sentence" of more than this share is cut between words.
LARGEST_PIECE = 4
# What PostgreSQL refuses in text, or UTF-8 cannot carry.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class ChunkPolicy:
    """In tokens as ``markdown.TOKEN`` counts them, close to a subword tokenizer's: a Han, kana or Hangul character
    is one, so is every started six letters of a word and a run of signs. ``size`` includes the ``overlap``.
    """

    size: int = 400
    overlap: int = 20


@dataclass(frozen=True)
class PageSpan:
    """Where a page lies in the document's Markdown, in characters; ``page_idx`` counts from 0."""

    page_idx: int
    start: int
    end: int


@dataclass(frozen=True)
class ReadWarning:
    """Something of the document that was not read, or not for certain: ``kind`` for programs, the rest for people."""

    kind: str
    place: str
    message: str


@dataclass(frozen=True)
class ParsedDocument:
    markdown: str
    pages: tuple[PageSpan, ...] = ()
    title: str | None = None
    warnings: tuple[ReadWarning, ...] = ()


@dataclass(frozen=True)
class ChunkDraft:
    """``details`` holds ``titles`` (the heading path), ``char_range`` (where its own text lies in the document's Markdown,
    without what it repeats) and, where the document has pages, ``page_idx``.
    """

    ordinal: int
    text: str
    text_hash: str
    details: dict[str, Any]


def chunk_document(document: ParsedDocument | str, policy: ChunkPolicy | None = None) -> list[ChunkDraft]:
    """In the document's order; no chunk is empty. Linear in the text's length."""
    parsed = ParsedDocument(document) if isinstance(document, str) else document
    text = _UNSTORABLE.sub("\ufffd", parsed.markdown)
    page_starts = [page.start for page in parsed.pages]
    drafts: list[ChunkDraft] = []
    for span in _Packer(text, policy or ChunkPolicy()).pack():
        content = (text[slice(*span.head)] + text[span.start : span.end]).strip()
        if not content:
            continue
        details: dict[str, Any] = {"titles": list(span.titles), "char_range": [span.body, span.end]}
        if page_starts:
            page = parsed.pages[max(0, bisect_right(page_starts, span.body) - 1)]
            details["page_idx"] = page.page_idx
        drafts.append(ChunkDraft(len(drafts), content, text_hash(content), details))
    return drafts


def text_hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class _Span:
    """``body`` is where the chunk's own text starts, behind what it repeats of the chunk before.

    ``head`` is where the header of a table stands whose later rows the chunk begins with; else it is empty.
    """

    start: int
    body: int
    end: int
    titles: tuple[str, ...]
    head: tuple[int, int] = (0, 0)


@dataclass
class _Packer:
    """Fills one span after the other; ``start`` is None while none is open."""

    text: str
    policy: ChunkPolicy
    path: dict[int, str] = field(default_factory=dict)
    titles: tuple[str, ...] = ()
    start: int | None = None
    body: int = 0
    end: int = 0
    tokens: int = 0
    has_body: bool = False
    head: tuple[int, int] = (0, 0)

    def pack(self) -> Iterator[_Span]:
        found = list(blocks(self.text))
        top = _top_level(found)
        for block in found:
            if block.kind is BlockKind.HEADING:
                if self.has_body and (block.level <= top or self.tokens * 2 >= self.policy.size):
                    yield self._close()
                self.path = {level: title for level, title in self.path.items() if level < block.level}
                self.path[block.level] = block.title
            elif self._better_whole(block):
                yield self._close()
            yield from self._fill(block)
        if self.start is not None:
            yield self._close()

    def _better_whole(self, block: Block) -> bool:
        """Tables and code always, prose when the open chunk is half full already."""
        whole = block.tokens <= self.policy.size < self.tokens + block.tokens
        return self.has_body and whole and (block.kind is not BlockKind.PROSE or self.tokens * 2 >= self.policy.size)

    def _fill(self, block: Block) -> Iterator[_Span]:
        largest = max(1, self.policy.size // LARGEST_PIECE) if block.kind is BlockKind.PROSE else self.policy.size
        cut = [Piece(block.start, block.end, block.tokens)]
        if self.tokens + block.tokens > self.policy.size:
            cut = list(pieces(self.text, block, largest))
        for piece in cut:
            if self.start is not None and self.tokens + piece.tokens > self.policy.size:
                yield self._close()
                if piece.start > block.start:
                    self._repeat(block, piece)
            self._add(piece, is_body=block.kind is not BlockKind.HEADING)

    def _add(self, piece: Piece, *, is_body: bool) -> None:
        if self.start is None:
            self.start, self.body = piece.start, piece.start
        if not self.has_body:
            self.titles = tuple(self.path[level] for level in sorted(self.path))
        self.end = piece.end
        self.tokens += piece.tokens
        self.has_body = self.has_body or is_body

    def _repeat(self, block: Block, piece: Piece) -> None:
        if block.kind is BlockKind.PROSE:
            self._repeat_words(block, piece)
        elif block.kind is BlockKind.TABLE:
            self._repeat_head(block, piece)

    def _repeat_head(self, block: Block, piece: Piece) -> None:
        """Rows mean little without the names of their columns; a header that takes up half of a chunk is left out."""
        head = table_head(self.text, block, self.policy.size // 2)
        if head is not None and head.tokens + piece.tokens <= self.policy.size:
            self.head, self.tokens = (head.start, head.end), head.tokens

    def _repeat_words(self, block: Block, piece: Piece) -> None:
        """Open the next span a few tokens back, where a word begins in the same block."""
        room = min(self.policy.overlap, self.policy.size - piece.tokens)
        # A token has six characters at most: a window of eight each holds enough of them with their spaces.
        window = max(block.start, piece.start - 8 * room)
        tail = list(TOKEN.finditer(self.text, window, piece.start))[-room:] if room > 0 else []
        while tail and tail[0].start() > block.start and _inside_word(self.text, tail[0].start()):
            tail.pop(0)
        if tail:
            self.start, self.body, self.tokens = tail[0].start(), piece.start, len(tail)

    def _close(self) -> _Span:
        start = self.body if self.start is None else self.start
        span = _Span(start, self.body, self.end, self.titles, self.head)
        self.start, self.tokens, self.has_body, self.head = None, 0, False, (0, 0)
        return span


def _inside_word(text: str, at: int) -> bool:
    """Whether a cut here would part the letters of a spaced script's word."""
    before, after = text[at - 1], text[at]
    return before.isalnum() and after.isalnum() and before < "\u0e00" and after < "\u0e00"


def _top_level(found: list[Block]) -> int:
    """The deepest level that still parts the document: a lone title is not enough to part it."""
    levels = sorted(block.level for block in found if block.kind is BlockKind.HEADING)
    return levels[1] if len(levels) > 1 else 6
