"""The judge finds every defect that is planted, and nothing where there is none."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aperag_testing.chaos.finding import Finding, Wrong
from aperag_testing.chaos.judge import count, judge
from aperag_testing.chaos.observation import (
    Accepted,
    Fact,
    Listed,
    Observation,
    Piece,
    Step,
    Stored,
    Table,
    Task,
)
from aperag_testing.chaos.plan import Deed

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = "qabcx tide moon"
SHA256 = hashlib.sha256(TEXT.encode()).hexdigest()
PIECES = frozenset([(0, "h0"), (1, "h1")])
KEPT, CANCELLED, DELETED = "kept", "cancelled", "deleted"


def accepted() -> list[Accepted]:
    """One that was left alone, one cancelled before it was ever served, one deleted."""
    return [
        Accepted(KEPT, "a.txt", TEXT, PIECES),
        Accepted(CANCELLED, "b.txt", TEXT, PIECES, asked={Deed.CANCEL}, cancelled={"task-cancelled"}),
        Accepted(DELETED, "c.txt", TEXT, PIECES, asked={Deed.DELETE}, deleted=True),
    ]


def step(document: str, kind: str, status: str = "ACTIVE", *, generation: int = 1, served: int | None = 1) -> Step:
    return Step(document, kind, status, generation, generation, served, leased=False)


def piece(table: str, ordinal: int, *, generation: int = 1, document: str = KEPT) -> Piece:
    return Piece(table, document, f"{document}-{ordinal}", generation, ordinal, f"h{ordinal}")


def told(*tasks: str) -> list[Fact]:
    return [Fact(f"end of {task}", "document.indexed", task, relayed=True) for task in tasks]


def at_rest() -> Observation:
    kinds = ("parse", "vector", "fulltext")
    facts = told("task-kept", "task-cancelled", "task-deleted", "delete")
    return Observation(
        listed=[Listed(KEPT, "a.txt", "COMPLETE", None), Listed(CANCELLED, "b.txt", "FAILED", "CANCELLED")],
        steps=[step(KEPT, kind) for kind in kinds]
        + [step(CANCELLED, kind, "FAILED", generation=2, served=None) for kind in kinds],
        pieces=[piece(table, ordinal) for table in Table for ordinal in (0, 1)],
        tasks=[
            Task("task-kept", KEPT, "upload", "SUCCESS", 0),
            Task("task-cancelled", CANCELLED, "upload", "CANCELLED", 0),
            Task("task-deleted", DELETED, "upload", "SUPERSEDED", 0),
            Task("delete", DELETED, "delete", "SUCCESS", 0),
        ],
        facts=facts,
        told=[fact.id for fact in facts],
        stored={KEPT: Stored(SHA256, parsed=True), CANCELLED: Stored(SHA256, parsed=False)},
        hits={KEPT: [KEPT], CANCELLED: [], DELETED: []},
    )


def without(rows: Any, **values: Any) -> list[Any]:
    return [row for row in rows if any(getattr(row, name) != value for name, value in values.items())]


def test_a_system_that_kept_its_promises_is_found_so() -> None:
    assert judge(at_rest(), accepted()) == []
    assert count([]) == {"lost": 0, "duplicated": 0, "orphaned": 0, "stuck": 0}


LOST: dict[str, Any] = {
    "the gateway does not list it": lambda it: replace(it, listed=it.listed[1:]),
    "it is FAILED though nobody cancelled it": lambda it: replace(
        it, listed=[Listed(KEPT, "a.txt", "FAILED", "WORKER_LOST"), it.listed[1]]
    ),
    "it is FAILED of something else than its cancel": lambda it: replace(
        it, listed=[it.listed[0], Listed(CANCELLED, "b.txt", "FAILED", "UNEXPECTED")]
    ),
    "a step is missing": lambda it: replace(it, steps=without(it.steps, document_id=CANCELLED, kind="vector")),
    "a chunk is missing": lambda it: replace(it, pieces=without(it.pieces, table="chunk", ordinal=1)),
    "a vector is missing": lambda it: replace(it, pieces=without(it.pieces, table="vector", ordinal=0)),
    "terms are missing": lambda it: replace(it, pieces=without(it.pieces, table="fulltext", ordinal=0)),
    "the upload has no task": lambda it: replace(it, tasks=it.tasks[1:]),
    "no event tells of a task's end": lambda it: replace(it, facts=it.facts[1:], told=it.told[1:]),
    "no reader was told an event": lambda it: replace(it, told=it.told[1:]),
    "the bytes are gone": lambda it: replace(it, stored={CANCELLED: it.stored[CANCELLED]}),
    "the bytes are others": lambda it: replace(it, stored={**it.stored, KEPT: Stored("0", parsed=True)}),
    "the parsed document is gone": lambda it: replace(it, stored={**it.stored, KEPT: Stored(SHA256, parsed=False)}),
    "no search finds it": lambda it: replace(it, hits={KEPT: []}),
    "a step was given up": lambda it: replace(it, dead_letters=["kept parse UNEXPECTED"]),
}

DUPLICATED: dict[str, Any] = {
    "the gateway lists it twice": lambda it: replace(it, listed=[*it.listed, it.listed[0]]),
    "a document that no answer named": lambda it: replace(
        it, listed=[*it.listed, Listed("other", "a.txt", "COMPLETE", None)]
    ),
    "a chunk is there twice": lambda it: replace(it, pieces=[*it.pieces, replace(it.pieces[0], chunk_id="again")]),
    "a vector is there twice": lambda it: replace(it, pieces=[*it.pieces, piece("vector", 1)]),
    "the upload has two tasks": lambda it: replace(
        it,
        tasks=[*it.tasks, Task("again", KEPT, "upload", "SUCCESS", 0)],
        facts=[*it.facts, *told("again")],
        told=[*it.told, "end of again"],
    ),
    "a cancelled task succeeded": lambda it: replace(
        it, tasks=[*without(it.tasks, id="task-cancelled"), Task("task-cancelled", CANCELLED, "upload", "SUCCESS", 0)]
    ),
    "a task ended twice": lambda it: replace(
        it,
        facts=[*it.facts, Fact("again", "document.indexed", "task-kept", relayed=True)],
        told=[*it.told, "again"],
    ),
    "an event was told twice": lambda it: replace(it, told=[*it.told, it.told[0]]),
    "a search finds it twice": lambda it: replace(it, hits={KEPT: [KEPT, KEPT]}),
}

ORPHANED: dict[str, Any] = {
    "a deleted document is listed": lambda it: replace(
        it, listed=[*it.listed, Listed(DELETED, "c.txt", "COMPLETE", None)]
    ),
    "a deleted document is found": lambda it: replace(it, hits={DELETED: [DELETED]}),
    "a deleted document is found by another's word": lambda it: replace(it, hits={KEPT: [KEPT, DELETED]}),
    "what was never served is found": lambda it: replace(it, hits={CANCELLED: [CANCELLED]}),
    "a deleted document has a chunk": lambda it: replace(it, pieces=[*it.pieces, piece("chunk", 0, document=DELETED)]),
    "rows of a document that nobody knows": lambda it: replace(
        it, pieces=[*it.pieces, piece("vector", 0, document="other")]
    ),
    "a cancelled document has vectors": lambda it: replace(
        it, pieces=[*it.pieces, piece("vector", 0, document=CANCELLED)]
    ),
    "vectors of a generation that is not served": lambda it: replace(
        it, pieces=[*it.pieces, piece("vector", 0, generation=2)]
    ),
    "chunks of an older parse to which no index points": lambda it: replace(
        it, pieces=[*it.pieces, replace(piece("chunk", 0, generation=0), chunk_id="old")]
    ),
    "chunks of another text": lambda it: replace(it, pieces=[*it.pieces, piece("chunk", 2)]),
    "steps of a deleted document": lambda it: replace(it, steps=[*it.steps, step(DELETED, "parse")]),
    "a removal that outlived its document": lambda it: replace(
        it, steps=[*it.steps, step(DELETED, "parse", "DELETED", served=None)]
    ),
    "objects of a deleted document": lambda it: replace(
        it, stored={**it.stored, DELETED: Stored(SHA256, parsed=False)}
    ),
    "objects of no document": lambda it: replace(it, stored={**it.stored, "other": Stored(None, parsed=False)}),
    "an event of nothing": lambda it: replace(it, told=[*it.told, "other"]),
    "a stray process": lambda it: replace(it, strays=["4711"]),
}

STUCK: dict[str, Any] = {
    "a document runs": lambda it: replace(it, listed=[Listed(KEPT, "a.txt", "RUNNING", None), it.listed[1]]),
    "a step is open": lambda it: replace(
        it, steps=[*without(it.steps, document_id=KEPT, kind="vector"), step(KEPT, "vector", "CREATING")]
    ),
    "a step is leased": lambda it: replace(
        it,
        steps=[
            *without(it.steps, document_id=KEPT, kind="vector"),
            replace(step(KEPT, "vector"), leased=True),
        ],
    ),
    "a step did not reach its generation": lambda it: replace(
        it,
        steps=[
            *without(it.steps, document_id=KEPT, kind="vector"),
            replace(step(KEPT, "vector"), generation=2),
        ],
    ),
    "a task runs": lambda it: replace(
        it, tasks=[*without(it.tasks, id="delete"), Task("delete", DELETED, "delete", "RUNNING", 1)]
    ),
    "an ended task has an open step": lambda it: replace(
        it, tasks=[*without(it.tasks, id="delete"), Task("delete", DELETED, "delete", "SUCCESS", 1)]
    ),
    "an event was not relayed": lambda it: replace(it, facts=[replace(it.facts[0], relayed=False), *it.facts[1:]]),
    "a command waits": lambda it: replace(it, commands=1),
    "a stream is gone": lambda it: replace(it, commands=-1),
    "a service is not ready": lambda it: replace(it, unready=["indexer"]),
}

PLANTED = [
    pytest.param(wrong, plant, id=f"{wrong}: {name}")
    for wrong, plants in (
        (Wrong.LOST, LOST),
        (Wrong.DUPLICATED, DUPLICATED),
        (Wrong.ORPHANED, ORPHANED),
        (Wrong.STUCK, STUCK),
    )
    for name, plant in plants.items()
]


@pytest.mark.parametrize(("wrong", "plant"), PLANTED)
def test_a_planted_defect_is_found_and_called_what_it_is(
    wrong: Wrong, plant: Callable[[Observation], Observation]
) -> None:
    found = judge(plant(at_rest()), accepted())
    assert {finding.wrong for finding in found} == {wrong}, found


def test_chunks_of_an_older_parse_may_stay_while_an_index_points_at_them() -> None:
    """A rebuild parsed again and its vectors were cancelled: the older ones are served on."""
    seen = at_rest()
    chunks = [replace(piece("chunk", n, generation=3), chunk_id=f"new-{n}") for n in (0, 1)]
    fulltext = [replace(piece("fulltext", n, generation=3), chunk_id=f"new-{n}") for n in (0, 1)]
    old = [row for row in seen.pieces if row.table != Table.FULLTEXT]
    steps = [s for s in seen.steps if s.document_id != KEPT]
    served = [step(KEPT, "parse", generation=3, served=3), step(KEPT, "fulltext", generation=3, served=3)]
    vectors = step(KEPT, "vector", generation=3, served=1)
    again = replace(seen, pieces=[*old, *chunks, *fulltext], steps=[*steps, *served, vectors])
    assert judge(again, accepted()) == []


def test_an_answer_that_got_lost_is_no_broken_promise() -> None:
    """A cancel whose answer never came may have been carried out all the same, and may not."""
    documents = accepted()
    documents[1].cancelled.clear()
    assert judge(at_rest(), documents) == []


def test_findings_are_counted_by_kind() -> None:
    found = [Finding(Wrong.LOST, "a", "1"), Finding(Wrong.LOST, "b", "2"), Finding(Wrong.STUCK, "c", "3")]
    assert count(found) == {"lost": 2, "duplicated": 0, "orphaned": 0, "stuck": 1}
