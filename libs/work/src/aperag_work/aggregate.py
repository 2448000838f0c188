"""What jobs of one noun have in common: how their subjects are locked, judged, and what follows from their ends.

The engine itself knows no documents. An aggregate's SQL stands inside the engine's statements, where jobs are ``j`` and
claimed jobs ``taken``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from aperag_common import errors
    from aperag_common.bus.delivery import Delivery
    from aperag_work.change import Change
    from aperag_work.completion import Completion
    from aperag_work.database import Connection, Record
    from aperag_work.rows import JobRow


@dataclass(frozen=True, slots=True)
class Served:
    """What searches see of the subject from now on; ``generation`` None: the completed one."""

    generation: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class CompletedAttempt:
    """A job whose work is done, as its worker knows it; ``traceparent`` is that of the attempt."""

    row: JobRow
    token: str
    completion: Completion
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FailedAttempt:
    """The job is tried again after ``delay``; without one it is given up.

    Without ``token``: a job whose last attempt ended without a word, which nobody holds.
    """

    row: JobRow
    token: str | None
    failure: errors.ApeRAGError
    failures: int
    attempt: int
    delay: timedelta | None = None
    traceparent: str | None = None
    delivery: Delivery | None = None


class CompletedJobs(Protocol):
    """Those whose fence held: neither generation nor lease had changed."""

    @property
    def tokens(self) -> frozenset[str]: ...

    async def apply_effects(self, conn: Connection, *, source: str) -> Mapping[str, Change]:
        """By token, after the kind's own rows are written: states, workflows, events, the jobs that follow."""
        ...


class Aggregate(Protocol):
    """``relevant`` is a further condition on the job ``j`` that is claimed, ``begun`` are further parts of a claim's
    statement; both may be empty.
    """

    @property
    def relevant(self) -> str: ...

    @property
    def begun(self) -> str: ...

    @property
    def context_columns(self) -> str: ...

    @property
    def context_joins(self) -> str: ...

    def context(self, row: Record) -> Any:
        """Of ``context_columns``."""
        ...

    async def lock(self, conn: Connection, jobs: Sequence[JobRow], *, wait: bool) -> Mapping[str, Any]:
        """Before the jobs, their subjects that exist, by id, in an order that is everybody's; without ``wait`` only those
        that nobody else holds.
        """
        ...

    async def complete(
        self, conn: Connection, attempts: Sequence[CompletedAttempt], locked: Mapping[str, Any], *, first_due: timedelta
    ) -> CompletedJobs:
        """Settle jobs of one kind and direction, of locked subjects, under the fence."""
        ...

    async def gave_up(self, conn: Connection, failed: FailedAttempt, subject: Any, *, source: str) -> Change:
        """What follows from a job of the locked ``subject`` that has just been given up."""
        ...
