"""Which promises a system has broken, judged from what is seen of it at rest; pure."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from aperag_testing.chaos.content import PARSE, judge_content
from aperag_testing.chaos.finding import Finding, Wrong
from aperag_testing.chaos.observation import Table
from aperag_testing.chaos.plan import Deed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aperag_testing.chaos.observation import Accepted, Fact, Listed, Observation, Step, Task

T = TypeVar("T")

KINDS = frozenset((PARSE, Table.VECTOR.value, Table.FULLTEXT.value))
COMPLETE, FAILED = "COMPLETE", "FAILED"
ACTIVE, DELETED = "ACTIVE", "DELETED"
RUNNING, CANCELLED = "RUNNING", "CANCELLED"
UPLOAD = "upload"
ENDS = frozenset(f"document.{it}" for it in ("indexed", "failed", "cancelled", "superseded", "removed"))

# Statuses that the judge knows are written out: it must not change with the code that it judges.


def judge(seen: Observation, accepted: Sequence[Accepted]) -> list[Finding]:
    """Empty where every promise was kept."""
    living = [document for document in accepted if not document.deleted]
    return [
        *_listed(seen, accepted, living),
        *_steps(seen, living),
        *_contents(seen, accepted),
        *_tasks(seen, accepted),
        *_events(seen),
        *_objects(seen, accepted),
        *_searches(seen, accepted),
        *_rest(seen),
    ]


def count(findings: Iterable[Finding]) -> dict[str, int]:
    """By kind, zeros included."""
    found = Counter(finding.wrong for finding in findings)
    return {wrong.value: found[wrong] for wrong in Wrong}


def _listed(seen: Observation, accepted: Sequence[Accepted], living: Iterable[Accepted]) -> Iterator[Finding]:
    listed = _by(seen.listed, lambda it: it.id)
    for document in living:
        shown = listed.get(document.id, [])
        if not shown:
            yield Finding(Wrong.LOST, "accepted, but the gateway does not list it", document.id)
        elif len(shown) > 1:
            yield Finding(Wrong.DUPLICATED, "the gateway lists it twice", document.id)
        for it in shown:
            yield from _status(it, document)
    known = {document.id: document for document in accepted}
    for id_ in listed:
        if id_ not in known:
            yield Finding(Wrong.DUPLICATED, "a document that no answer named", id_)
        elif known[id_].deleted:
            yield Finding(Wrong.ORPHANED, "deleted, and listed by the gateway", id_)


def _status(listed: Listed, document: Accepted) -> Iterator[Finding]:
    if listed.status not in (COMPLETE, FAILED):
        yield Finding(Wrong.STUCK, f"the document is {listed.status}", document.id)
    elif listed.status == FAILED and not (listed.error_code == CANCELLED and Deed.CANCEL in document.asked):
        yield Finding(Wrong.LOST, f"the document is FAILED: {listed.error_code}", document.id)


def _steps(seen: Observation, living: Iterable[Accepted]) -> Iterator[Finding]:
    steps = _by(seen.steps, lambda it: it.document_id)
    for document in living:
        mine = steps.get(document.id, [])
        if missing := KINDS - {step.kind for step in mine}:
            yield Finding(Wrong.LOST, f"steps are missing: {', '.join(sorted(missing))}", document.id)
    for step in seen.steps:
        if not _settled(step):
            yield Finding(Wrong.STUCK, f"the {step.kind} step is {step.status}", step.document_id)


def _settled(step: Step) -> bool:
    return step.status in (ACTIVE, FAILED, DELETED) and step.observed_generation == step.generation and not step.leased


def _contents(seen: Observation, accepted: Sequence[Accepted]) -> Iterator[Finding]:
    steps, pieces = _by(seen.steps, lambda it: it.document_id), _by(seen.pieces, lambda it: it.document_id)
    known = {document.id: document for document in accepted}
    for id_, document in known.items():
        if not document.deleted:
            mine = {step.kind: step for step in steps.get(id_, [])}
            yield from judge_content(document, mine, pieces.get(id_, []))
        elif id_ in steps:
            yield Finding(Wrong.ORPHANED, f"steps of a deleted document: {len(steps[id_])}", id_)
    for id_, rows in pieces.items():
        if id_ not in known or known[id_].deleted:
            tables = ", ".join(sorted({row.table for row in rows}))
            yield Finding(Wrong.ORPHANED, f"rows of a document that is gone: {tables}", id_)


def _tasks(seen: Observation, accepted: Iterable[Accepted]) -> Iterator[Finding]:
    tasks = _by(seen.tasks, lambda it: it.document_id)
    for document in accepted:
        mine = tasks.get(document.id, [])
        uploads = sum(task.kind == UPLOAD for task in mine)
        if uploads != 1:
            wrong = Wrong.DUPLICATED if uploads else Wrong.LOST
            yield Finding(wrong, f"the upload has {uploads} tasks", document.id)
        for task in mine:
            if task.id in document.cancelled and task.status != CANCELLED:
                yield Finding(Wrong.DUPLICATED, f"cancelled, and then {task.status}", task.id)
    told = Counter(fact.task_id for fact in seen.facts if fact.type in ENDS)
    for task in seen.tasks:
        yield from _end(task, told[task.id])


def _end(task: Task, told: int) -> Iterator[Finding]:
    if task.status == RUNNING or task.open_steps:
        yield Finding(Wrong.STUCK, f"the task is {task.status} with {task.open_steps} open steps", task.id)
    elif told == 0:
        yield Finding(Wrong.LOST, "the task ended and no event tells of it", task.id)
    if told > 1:
        yield Finding(Wrong.DUPLICATED, f"{told} events tell of the task's end", task.id)


def _events(seen: Observation) -> Iterator[Finding]:
    facts: dict[str, Fact] = {fact.id: fact for fact in seen.facts}
    told = Counter(seen.told)
    for fact in facts.values():
        if not fact.relayed:
            yield Finding(Wrong.STUCK, f"the event {fact.type} was not relayed", fact.id)
        elif fact.id not in told:
            yield Finding(Wrong.LOST, f"no reader was told {fact.type}", fact.id)
    for id_, times in told.items():
        if times > 1:
            yield Finding(Wrong.DUPLICATED, f"a reader was told the event {times} times", id_)
        if id_ not in facts:
            yield Finding(Wrong.ORPHANED, "an event of nothing that was committed", id_)


def _objects(seen: Observation, accepted: Sequence[Accepted]) -> Iterator[Finding]:
    complete = {it.id for it in seen.listed if it.status == COMPLETE}
    living = {document.id: document for document in accepted if not document.deleted}
    for id_, document in living.items():
        stored = seen.stored.get(id_)
        if stored is None or stored.sha256 != hashlib.sha256(document.text.encode()).hexdigest():
            yield Finding(Wrong.LOST, "the object store does not hold the uploaded bytes", id_)
        elif id_ in complete and not stored.parsed:
            yield Finding(Wrong.LOST, "the object store does not hold the parsed document", id_)
    for id_ in seen.stored.keys() - living.keys():
        yield Finding(Wrong.ORPHANED, "objects of a document that is not there", id_)


def _searches(seen: Observation, accepted: Iterable[Accepted]) -> Iterator[Finding]:
    complete = {it.id for it in seen.listed if it.status == COMPLETE}
    deleted = {document.id for document in accepted if document.deleted}
    served = {step.document_id for step in seen.steps if step.served_generation is not None}
    for id_, found in seen.hits.items():
        if id_ in complete - deleted and id_ not in found:
            yield Finding(Wrong.LOST, "its own word does not find it", id_)
        if len(set(found)) < len(found):
            yield Finding(Wrong.DUPLICATED, "a search finds it twice", id_)
        if id_ in found and id_ not in served | deleted:
            yield Finding(Wrong.ORPHANED, "cancelled before it was ever served, and a search finds it", id_)
    for id_ in deleted & set(chain.from_iterable(seen.hits.values())):
        yield Finding(Wrong.ORPHANED, "a search finds the deleted document", id_)


def _rest(seen: Observation) -> Iterator[Finding]:
    for letter in seen.dead_letters:
        yield Finding(Wrong.LOST, "a step was given up", letter)
    if seen.commands:
        yield Finding(Wrong.STUCK, "commands wait in the stream", str(seen.commands))
    for service in seen.unready:
        yield Finding(Wrong.STUCK, "the service is not ready", service)
    for stray in seen.strays:
        yield Finding(Wrong.ORPHANED, "a process outlived its supervisor's care", stray)


def _by(rows: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(found)
