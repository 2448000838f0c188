"""What is known of a step when somebody asks why it waits: columns of its job, and of what it depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_common.db.models.base import is_open
from aperag_common.jobs.kind import Wanted, kind_of
from aperag_common.jobs.steps import StepKind

if TYPE_CHECKING:
    from datetime import datetime

    from aperag_common.jobs.kind import Work

REMOVED = "REMOVED"
"""What clients see of a job whose removal is complete."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a document stands that waits for its release; ``position`` counts from 1 to ``waiting``."""

    position: int
    waiting: int
    in_flight: int
    limit: int
    owners: int


@dataclass(frozen=True, slots=True)
class Queue:
    """A step's consumer; ``workers`` and ``reconcilers`` are processes seen lately, ``free`` the workers' free slots.

    ``pending`` is None where NATS did not tell.
    """

    consumer: str
    workers: int
    free: int
    reconcilers: int
    pending: int | None


@dataclass(frozen=True, slots=True)
class StepFacts:
    """``now`` is the database's clock, and so are all other times.

    ``due_at`` is None at infinity: the job waits for another one. ``claimed_at`` is the start of the attempt under
    way. ``max_failures`` and ``max_attempts`` are the policy's.
    """

    kind: str
    status: str
    now: datetime
    removing: bool = False
    generation: int = 1
    dispatch: int = 0
    attempt: int = 0
    failures: int = 0
    due_at: datetime | None = None
    leased: bool = False
    lease_until: datetime | None = None
    claimed_at: datetime | None = None
    worker: str | None = None
    requested: datetime | None = None
    started_at: datetime | None = None
    settled_at: datetime | None = None
    served: bool = False
    error_code: str | None = None
    error_message: str | None = None
    failed_attempts: list[dict[str, Any]] = field(default_factory=list)
    traceparent: str | None = None
    max_failures: int = 0
    max_attempts: int = 0

    @property
    def open(self) -> bool:
        return is_open(self.status)

    @property
    def published(self) -> bool:
        """Its command is somewhere between the reconciler and a worker."""
        return self.open and self.dispatch > 0 and not self.leased and self.due_at is not None

    @property
    def waits_for_release(self) -> bool:
        return self.open and self.dispatch == 0 and not self.leased and self.due_at is not None

    @property
    def work(self) -> Work:
        return kind_of(StepKind(self.kind).job).work(Wanted.ABSENT if self.removing else Wanted.PRESENT)
