"""``Handling``: what a process was told of one direction of a job kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aperag_common.jobs.kind import Work
    from aperag_work.aggregate import Aggregate
    from aperag_work.attempts import Attempts
    from aperag_work.completion import Completion
    from aperag_work.job import Job

    Run = Callable[[Job], Awaitable[Completion]]


@dataclass(frozen=True, slots=True)
class Handling:
    """How this process does one direction of a kind."""

    work: Work
    run: Run
    aggregate: Aggregate
    attempts: Attempts
    slots: int
