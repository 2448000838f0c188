"""``Completion``: what a finished attempt writes, in the transaction that settles its job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_work.aggregate import Served

if TYPE_CHECKING:
    from aperag_common.events.envelope import Message
    from aperag_work.aggregate import FailedAttempt
    from aperag_work.database import Connection
    from aperag_work.job import Job
    from aperag_work.rows import JobRow
    from aperag_work.transitions import Wish


@dataclass(frozen=True, slots=True)
class Completed:
    """A job whose fence held, and what its work made."""

    row: JobRow
    result: Any


Run = Callable[["Job"], Awaitable["Completion"]]
"""Does the work, outside any transaction."""

Write = Callable[["Connection", Sequence[Completed]], Awaitable[None]]
"""Puts the results of jobs that are completed together into their transaction."""

Lock = Callable[["Connection", Sequence["JobRow"]], Awaitable[None]]
"""Takes, before the jobs that end together, what others lock before them (see ``rows.locked``)."""

GaveUp = Callable[["Connection", "FailedAttempt"], Awaitable[Sequence["Message"]]]
"""The events that tell of a job that is given up, in the transaction that gives it up."""


@dataclass(frozen=True, slots=True)
class Completion:
    """``result`` is what the kind's ``write`` puts into its tables, about ``rows`` of them.

    ``served`` is what searches see of a document from now on. ``events`` and the jobs that ``follow_up`` belong to the
    same transaction; events of a document's job itself are made by the engine. ``after`` is awaited once it is
    committed. ``outcome`` is for metrics and spans.
    """

    result: Any = None
    rows: int = 1
    served: Served = field(default_factory=Served)
    events: Sequence[Message] = ()
    follow_up: Sequence[Wish] = ()
    after: Callable[[], Awaitable[None]] | None = None
    outcome: str = field(default="done", kw_only=True)
