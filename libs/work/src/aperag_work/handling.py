"""``Handling``: what a process was told of one direction of a job kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_work.documents import Documents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aperag_common.jobs.kind import JobKind, Work
    from aperag_work.aggregate import Aggregate
    from aperag_work.attempts import Attempts
    from aperag_work.completion import Completion
    from aperag_work.job import Job

    Run = Callable[[Job], Awaitable[Completion]]

AGGREGATES: Mapping[str, Aggregate] = {Documents.name: Documents()}


@dataclass(frozen=True, slots=True)
class Handling:
    """How this process does one direction of a kind."""

    kind: JobKind
    work: Work
    run: Run
    attempts: Attempts
    slots: int

    @property
    def aggregate(self) -> Aggregate | None:
        return AGGREGATES.get(self.kind.aggregate)
