"""What can be seen of a collection from outside: over HTTP, in the tables, in the object store, among the processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aperag_testing.chaos.plan import Deed


@dataclass(slots=True)
class Accepted:
    """What the client knows of a document whose upload was answered.

    ``asked`` may have been carried out although no answer came; ``cancelled`` are tasks whose cancel was answered.
    ``pieces`` are the chunks that one indexer makes which nobody disturbs: ordinal and hash of the text.
    """

    id: str
    name: str
    text: str
    pieces: frozenset[tuple[int, str]]
    asked: set[Deed] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A document as the gateway lists it."""

    id: str
    name: str
    status: str
    error_code: str | None


@dataclass(frozen=True, slots=True)
class Step:
    document_id: str
    kind: str
    status: str
    generation: int
    observed_generation: int
    served_generation: int | None
    leased: bool


class Table(StrEnum):
    """Where a document's content lies; the indexes are called as their steps."""

    CHUNK = "chunk"
    VECTOR = "vector"
    FULLTEXT = "fulltext"


@dataclass(frozen=True, slots=True)
class Piece:
    """A row of ``table``; ``ordinal`` and ``text_hash`` are those of its chunk."""

    table: str
    document_id: str
    chunk_id: str
    generation: int
    ordinal: int
    text_hash: str


@dataclass(frozen=True, slots=True)
class Task:
    """A workflow; ``open_steps`` are those that have not ended."""

    id: str
    document_id: str
    kind: str
    status: str
    open_steps: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A row of the outbox; ``task_id`` where it belongs to one, ``relayed`` to the present life of the stream."""

    id: str
    type: str
    task_id: str | None
    relayed: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """A document's prefix in the object store; ``sha256`` is that of the original, None where there is none."""

    sha256: str | None
    parsed: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """``told`` are the ids of events that a reader was told in the present life of the stream; ``hits`` maps a
    document to those that a search for its own word found; ``commands`` counts messages that nobody has settled.
    """

    listed: Sequence[Listed] = ()
    steps: Sequence[Step] = ()
    pieces: Sequence[Piece] = ()
    tasks: Sequence[Task] = ()
    facts: Sequence[Fact] = ()
    told: Sequence[str] = ()
    stored: Mapping[str, Stored] = field(default_factory=dict)
    hits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    dead_letters: Sequence[str] = ()
    commands: int = 0
    unready: Sequence[str] = ()
    strays: Sequence[str] = ()
