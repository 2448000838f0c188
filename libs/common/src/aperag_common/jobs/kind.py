"""``JobKind``: the one declaration of a kind of work, and the registry of all of them.

Subjects, consumers, permissions at NATS, row-level security in PostgreSQL, metrics, views, dead letters, redrive and
retention follow from it. A new kind of work is one declaration, one handler and one golden message.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aperag_common.events.commands import JobCommand
    from aperag_common.services import Service
    from aperag_common.subjects import Subject

ACK_WAIT = 30.0
"""Seconds after which the server delivers a message again that nobody settled or worked on."""

REMOVED_AT_ONCE = timedelta(0)


class Wanted(StrEnum):
    """What a generation of a job asks for: that its subject is there, or that it is gone."""

    PRESENT = "present"
    ABSENT = "absent"


class OnChange(StrEnum):
    """What a raised generation does to an attempt under way.

    ``supersede`` takes its lease away. ``run_again`` lets it complete what it claimed, and then the job runs once more:
    work that is asked for again and again would never end otherwise.
    """

    SUPERSEDE = "supersede"
    RUN_AGAIN = "run_again"


@dataclass(frozen=True, slots=True)
class Work:
    """How one direction of a kind reaches its worker: ``command`` on ``subject``, fetched from ``consumer``.

    Directions of several kinds may share a consumer. ``retry`` names the settings of its retries
    (``APERAG_WORK__STEPS__<RETRY>__…``), of which ``max_failures`` and ``max_attempts`` are the defaults where they
    differ from everybody's. ``schedule`` holds the delays between its attempts where they follow no formula: the job ends
    after the attempt that follows the last one. ``slots`` is how many jobs one process has at work unless its settings say otherwise.
    ``ack_wait`` is in seconds.
    """

    subject: Subject
    command: type[JobCommand]
    consumer: str
    retry: str
    slots: int = 4
    ack_wait: float = ACK_WAIT
    max_failures: int | None = None
    max_attempts: int | None = None
    schedule: tuple[timedelta, ...] = ()


@dataclass(frozen=True, slots=True)
class JobKind:
    """``service`` is the only one that works on it.

    ``present`` and ``absent`` say what a worker does to make the subject so; None where nobody ever asks for it.
    ``aggregate`` is the noun of the subject: jobs of one document share its lock, its state and its workflows.
    ``after`` names kinds of the same subject that have to settle first: until then a job waits at ``infinity``.
    ``group`` is what fair release counts together, None for kinds that are published at once. ``by_due_time``: new jobs
    and retries alike wait in the table until they are due and their owner has a place, the longest due first; so retries
    of one owner never fill the queue that others wait in.
    ``made_by_worker``: the kind's own service makes such jobs too.
    ``on_delete`` is the table whose deleted rows take their jobs along, None where a completion removes the job.
    ``retention`` is how long a settled job is kept: None as long as its subject, zero until its completion.
    ``label`` is what people and events call the kind, where that is not its name.
    """

    name: str
    service: Service
    aggregate: str
    present: Work | None = None
    absent: Work | None = None
    after: tuple[str, ...] = ()
    group: str | None = None
    by_due_time: bool = False
    made_by_worker: bool = False
    on_change: OnChange = OnChange.SUPERSEDE
    on_delete: str | None = None
    retention: timedelta | None = None
    label: str = ""

    def work(self, wanted: str) -> Work:
        """Raises ``ValueError`` where nobody does this."""
        found = self.present if wanted == Wanted.PRESENT else self.absent
        if found is None:
            raise ValueError(f"no worker makes {self.name} {wanted}")
        return found

    @property
    def works(self) -> tuple[Work, ...]:
        return tuple(work for work in (self.present, self.absent) if work is not None)

    @property
    def sent_by_worker(self) -> tuple[Work, ...]:
        """What the kind's own service sends: work that it makes, or that waits for another job's end, or for that of an
        attempt.
        """
        if self.made_by_worker or self.on_change is OnChange.RUN_AGAIN:
            return self.works
        return (self.present,) if self.after and self.present is not None else ()

    @property
    def shown(self) -> str:
        return self.label or self.name


_KINDS: dict[str, JobKind] = {}


def register(*kinds: JobKind) -> None:
    """Raises ``ValueError`` for a name or a consumer's retries that are declared twice and differently."""
    for kind in kinds:
        if _KINDS.setdefault(kind.name, kind) is not kind:
            raise ValueError(f"the job kind {kind.name} is declared twice")


@contextmanager
def registered(*kinds: JobKind) -> Iterator[None]:
    """Kinds that exist while the block runs; for tests of what follows from a declaration."""
    register(*kinds)
    try:
        yield
    finally:
        for kind in kinds:
            del _KINDS[kind.name]


def kinds() -> tuple[JobKind, ...]:
    """All of them, in the order of their declaration."""
    return tuple(_KINDS.values())


def kind_of(name: str) -> JobKind:
    """Raises ``KeyError``."""
    return _KINDS[name]


def kinds_in(group: str) -> list[str]:
    """Names of the kinds that fair release counts together."""
    return [kind.name for kind in kinds() if kind.group == group]


def transient() -> dict[str, timedelta]:
    """Kinds whose settled jobs are removed by age, and after how long."""
    return {kind.name: kind.retention for kind in kinds() if kind.retention}
