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
    from aperag_work.database import Connection, Record
    from aperag_work.rows import JobRow


@dataclass(frozen=True, slots=True)
class Served:
    """What searches see of the subject from now on; ``generation`` None: the completed one."""

    generation: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompletedAttempt:
    """A job whose work is done, as its worker knows it; ``traceparent`` is that of the attempt."""

    row: JobRow
    token: str
    served: Served = Served()
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A job that is given up. Without ``token``: one whose last attempt ended without a word, which nobody holds."""

    row: JobRow
    token: str | None
    failure: errors.ApeRAGError
    failures: int
    attempt: int
    traceparent: str | None = None
    delivery: Delivery | None = None


class CompletedJobs(Protocol):
    """Those whose fence held: neither generation nor lease had changed."""

    @property
    def tokens(self) -> frozenset[str]: ...

    async def apply_effects(self, conn: Connection, *, source: str) -> dict[str, Change]:
        """By token, after the kind's own rows are written: states, workflows, events, the jobs that follow."""
        ...


class Aggregate(Protocol):
    """``relevant`` is a condition on the job ``j``, ``begun`` further parts of a claim's statement."""

    @property
    def name(self) -> str: ...

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

    async def lock(self, conn: Connection, subjects: Sequence[str], *, wait: bool) -> Mapping[str, Any]:
        """Those that exist, by id, in an order that is everybody's; without ``wait`` only those that nobody else holds."""
        ...

    async def complete(
        self, conn: Connection, attempts: Sequence[CompletedAttempt], locked: Mapping[str, Any], *, first_due: timedelta
    ) -> CompletedJobs:
        """Settle jobs of one kind and direction, of locked subjects, under the fence."""
        ...

    async def fail(
        self, conn: Connection, failing: FailedAttempt, locked: Mapping[str, Any], *, source: str, first_due: timedelta
    ) -> tuple[Change, str | None] | None:
        """Give a job up and say so; the worker's name. None where it is not this attempt's any more."""
        ...
