"""Whether a document's chunks and index rows are those that searches should see: all, once, and no others; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aperag_testing.chaos.finding import Finding, Wrong
from aperag_testing.chaos.observation import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aperag_testing.chaos.observation import Accepted, Piece, Step

PARSE = "parse"


def judge_content(document: Accepted, steps: Mapping[str, Step], pieces: Sequence[Piece]) -> Iterator[Finding]:
    """Of a document that was not deleted; ``steps`` by kind."""
    for kind, table in ((PARSE, Table.CHUNK), (Table.VECTOR, Table.VECTOR), (Table.FULLTEXT, Table.FULLTEXT)):
        step = steps.get(kind)
        served = None if step is None else step.served_generation
        mine = [piece for piece in pieces if piece.table == table]
        yield from _whole(document, table, served, mine)
        yield from _spare(document, table, served, mine, _pointed_at(pieces) if table is Table.CHUNK else set())


def _whole(document: Accepted, table: str, served: int | None, mine: Iterable[Piece]) -> Iterator[Finding]:
    if served is None:
        return
    found = Counter((p.ordinal, p.text_hash) for p in mine if p.generation == served)
    if missing := document.pieces - found.keys():
        yield Finding(Wrong.LOST, f"{table} rows are missing: {len(missing)}", document.id)
    if found.keys() - document.pieces:
        yield Finding(Wrong.ORPHANED, f"{table} rows are not of this text", document.id)
    if max(found.values(), default=1) > 1:
        yield Finding(Wrong.DUPLICATED, f"{table} rows are there twice", document.id)


def _spare(
    document: Accepted, table: str, served: int | None, mine: Iterable[Piece], pointed_at: set[str]
) -> Iterator[Finding]:
    """An older parse's chunks stay while an index still points at them."""
    spare = sum(piece.generation != served and piece.chunk_id not in pointed_at for piece in mine)
    if spare:
        yield Finding(Wrong.ORPHANED, f"{table} rows of a generation that is not served: {spare}", document.id)


def _pointed_at(pieces: Iterable[Piece]) -> set[str]:
    return {piece.chunk_id for piece in pieces if piece.table != Table.CHUNK}
