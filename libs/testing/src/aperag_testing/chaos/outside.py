"""Events of another service while processes die: what is sent, what must become of it, and whether it did; pure."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import TYPE_CHECKING

from aperag_testing.chaos.finding import Finding, Wrong
from aperag_testing.chaos.plan import LAST_FAULT, Fault, make_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = ("reconciler", "api", "nats", "postgres")
"""What stands between an event and its document, and is killed in turns."""

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CHANGED, DELETED, LATE = 0.2, 0.1, 0.1
"""Shares of events that change or delete an earlier document, and that are older than the one before them."""

COMPLETED = "COMPLETED"
# The judge writes out what it knows: it must not change with the code that it judges.


@dataclass(frozen=True, slots=True)
class Sent:
    """One event; without ``content`` it deletes."""

    id: str
    subject: str
    time: datetime
    content: str | None


@dataclass(frozen=True, slots=True)
class OutsidePlan:
    """``faults`` strike once so many events are settled."""

    events: Sequence[Sent]
    faults: Sequence[Fault]


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """A row of the table of events."""

    id: str
    status: str
    code: str | None


@dataclass(frozen=True, slots=True)
class SeenDocument:
    """A living document; ``searchable``: a search for its own word finds it, None where nobody looked."""

    name: str
    status: str
    sha256: str
    searchable: bool | None = None


@dataclass(frozen=True, slots=True)
class Outside:
    """The system at rest; ``told`` counts the facts that tell of each event, ``left`` messages that wait."""

    events: Sequence[SeenEvent]
    documents: Sequence[SeenDocument]
    told: Mapping[str, int]
    letters: int
    left: int


def make_outside_plan(seed: int, *, events: int, kills: int) -> OutsidePlan:
    """The same for the same arguments. Every event's time is its own, so that there is one newest."""
    rng = random.Random(seed)  # noqa: S311  a plan that can be repeated is the point
    texts = make_texts(rng, events, prefix="page")
    sent: list[Sent] = []
    for number, (subject, text) in enumerate(texts.items()):
        luck = rng.random()
        earlier = rng.choice(sent).subject if sent and luck < CHANGED + DELETED + LATE else None
        content = None if earlier is not None and luck < DELETED else text
        # Half an hour back is before all others that are sent in an ordinary run.
        when = BEGIN + timedelta(seconds=number - (100_000 if DELETED <= luck < DELETED + LATE and earlier else 0))
        sent.append(Sent(f"event-{number:05}", earlier or subject, when, content))
    return OutsidePlan(sent, _faults(rng, events, kills))


def newest(plan: OutsidePlan) -> dict[str, str | None]:
    """What each subject must hold in the end; None: it is deleted."""
    found: dict[str, Sent] = {}
    for event in plan.events:
        if event.subject not in found or event.time > found[event.subject].time:
            found[event.subject] = event
    return {subject: event.content for subject, event in found.items()}


def judge_outside(seen: Outside, plan: OutsidePlan) -> list[Finding]:
    """Empty where every event ended in exactly one state of its document."""
    return [*_events(seen, plan), *_documents(seen, plan), *_rest(seen)]


def _faults(rng: random.Random, events: int, kills: int) -> list[Fault]:
    units = list(islice(cycle(UNITS), kills))
    rng.shuffle(units)
    spacing = LAST_FAULT * events / max(kills, 1)
    return [Fault(int((number + rng.random()) * spacing), unit) for number, unit in enumerate(units)]


def _events(seen: Outside, plan: OutsidePlan) -> Iterator[Finding]:
    rows: dict[str, list[SeenEvent]] = {}
    for row in seen.events:
        rows.setdefault(row.id, []).append(row)
    for event in plan.events:
        mine = rows.pop(event.id, [])
        if len(mine) != 1:
            yield Finding(Wrong.DUPLICATED if mine else Wrong.LOST, f"the event has {len(mine)} rows", event.id)
        for row in mine:
            if row.status != COMPLETED:
                wrong = Wrong.LOST if row.code else Wrong.STUCK
                yield Finding(wrong, f"the event is {row.status}: {row.code}", event.id)
        if (told := seen.told.get(event.id, 0)) != 1:
            yield Finding(Wrong.DUPLICATED if told else Wrong.LOST, f"{told} facts tell of the event's end", event.id)
    for id_ in rows:
        yield Finding(Wrong.ORPHANED, "an event that nobody sent", id_)


def _documents(seen: Outside, plan: OutsidePlan) -> Iterator[Finding]:
    living = {subject: content for subject, content in newest(plan).items() if content is not None}
    shown = Counter(document.name for document in seen.documents)
    for subject in living:
        if shown[subject] != 1:
            wrong = Wrong.DUPLICATED if shown[subject] else Wrong.LOST
            yield Finding(wrong, f"{shown[subject]} documents stand for the subject", subject)
    for document in seen.documents:
        content = living.get(document.name)
        if content is None:
            yield Finding(Wrong.ORPHANED, "a document that is deleted, or was never sent", document.name)
        elif document.sha256 != hashlib.sha256(content.encode()).hexdigest():
            yield Finding(Wrong.LOST, "the document does not hold what its newest event brought", document.name)
        elif document.status != "COMPLETE":
            yield Finding(Wrong.STUCK, f"the document is {document.status}", document.name)
        elif document.searchable is False:
            yield Finding(Wrong.LOST, "its own word does not find it", document.name)


def _rest(seen: Outside) -> Iterator[Finding]:
    if seen.letters:
        yield Finding(Wrong.LOST, "dead letters", str(seen.letters))
    if seen.left:
        yield Finding(Wrong.STUCK, "messages wait in the streams", str(seen.left))
