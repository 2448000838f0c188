"""What happens during an ingest, made of nothing but a seed: texts, which process dies when, what is asked of whom."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNITS = ("api", "indexer", "nats", "reconciler", "postgres", "indexer-2", "reconciler-2")
"""Of a stack with two of every worker, one of each kind first: the names that the supervisor gives them."""

NATS = "nats"
LAST_FAULT = 0.9
"""The share of documents that has ended at the latest when the last process dies."""
LATER = 40
"""A request about a document waits for at most so many others to end, so that it meets every stage."""
UNDISTURBED = 0.55
LONG_EVERY = 10
LETTERS = "abcdefghij"
WORDS = (
    "tide", "moon", "sea", "shore", "boat", "harbour", "light", "keeper", "storm",
    "rope", "sail", "wind", "chart", "star", "night", "wave", "gull", "sand",
)  # fmt: skip


class Deed(StrEnum):
    """What a person may ask of a document that is on its way, or has arrived."""

    REBUILD = "rebuild"
    CANCEL = "cancel"
    DELETE = "delete"


COURSES: tuple[tuple[Deed, ...], ...] = (
    (Deed.REBUILD,),
    (Deed.CANCEL,),
    (Deed.DELETE,),
    (Deed.REBUILD, Deed.REBUILD),
    (Deed.REBUILD, Deed.CANCEL),
    (Deed.REBUILD, Deed.DELETE),
    (Deed.CANCEL, Deed.REBUILD),
    (Deed.CANCEL, Deed.DELETE),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """``unit`` is killed once so many documents have ended; ``wipe`` takes the store of NATS with it."""

    after: int
    unit: str
    wipe: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """``deed`` is asked once ``later`` more documents have ended; 0 is at once."""

    deed: Deed
    later: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``requests`` goes by document name, in order; ``faults`` are in the order in which they happen."""

    texts: Mapping[str, str]
    faults: Sequence[Fault]
    requests: Mapping[str, Sequence[Request]]

    @property
    def asked(self) -> Counter[Deed]:
        return Counter(request.deed for requests in self.requests.values() for request in requests)


def make_plan(seed: int, *, documents: int, kills: int, wipe: bool = False, disturbed: bool = True) -> Plan:
    """The same for the same arguments; a document that is not ``disturbed`` is only uploaded."""
    rng = random.Random(seed)  # noqa: S311  a plan that can be repeated is the point
    texts = make_texts(rng, documents)
    faults = _faults(rng, documents, kills, wipe=wipe)
    return Plan(texts, faults, {name: _requests(rng) for name in texts} if disturbed else {})


def make_texts(rng: random.Random, documents: int, *, prefix: str = "log") -> dict[str, str]:
    """Small texts with one word each that no other has; every tenth is long enough for several chunks."""
    texts = {}
    for number in range(documents):
        words = rng.choices(WORDS, k=1500 if number % LONG_EVERY == 0 else 60)
        texts[f"{prefix}-{number:05}.txt"] = " ".join([own_word(number), *words]) + "."
    return texts


def own_word(number: int) -> str:
    """It has no ending that a stemmer would take away."""
    return "q" + "".join(LETTERS[int(digit)] for digit in f"{number:05}") + "x"


def word_of(text: str) -> str:
    """The one word that finds this text alone."""
    return text.partition(" ")[0]


def _faults(rng: random.Random, documents: int, kills: int, *, wipe: bool) -> list[Fault]:
    units = list(islice(cycle(UNITS), kills))
    rng.shuffle(units)
    spacing = LAST_FAULT * documents / max(kills, 1)
    faults = [Fault(int((number + rng.random()) * spacing), unit) for number, unit in enumerate(units)]
    if wipe:
        faults.append(Fault(int(rng.uniform(0.3, 0.7) * documents), NATS, wipe=True))
    return sorted(faults, key=lambda fault: fault.after)


def _requests(rng: random.Random) -> list[Request]:
    if rng.random() < UNDISTURBED:
        return []
    return [Request(deed, rng.choice((0, rng.randrange(LATER)))) for deed in rng.choice(COURSES)]
