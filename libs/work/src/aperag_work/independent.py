"""Jobs whose subjects share nothing with each other: what their kind's own hooks do not lock or tell, nobody does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_work import outbox, transitions
from aperag_work.change import Change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from aperag_common.jobs.kind import JobKind
    from aperag_work.aggregate import CompletedAttempt, FailedAttempt
    from aperag_work.completion import GaveUp, Lock
    from aperag_work.database import Connection, Record
    from aperag_work.rows import JobRow
    from aperag_work.transitions import Ended


@dataclass(frozen=True, slots=True)
class _Completed:
    ended: Mapping[str, Ended]

    @property
    def tokens(self) -> frozenset[str]:
        return frozenset(self.ended)

    async def apply_effects(self, _: Connection, *, source: str) -> Mapping[str, Change]:
        return {token: it.change(source) for token, it in self.ended.items()}


@dataclass(frozen=True, slots=True)
class Independent:
    """The aggregate of kinds that have none; see ``aperag_work.aggregate``."""

    kind: JobKind
    on_lock: Lock | None = None
    on_gave_up: GaveUp | None = None
    relevant = ""
    begun = ""
    context_columns = ""
    context_joins = ""

    def context(self, _: Record) -> None:
        return None

    async def lock(self, conn: Connection, jobs: Sequence[JobRow], *, wait: bool) -> Mapping[str, None]:  # noqa: ARG002
        if self.on_lock is not None:
            await self.on_lock(conn, jobs)
        return dict.fromkeys(job.subject_id for job in jobs)

    async def complete(
        self,
        conn: Connection,
        attempts: Sequence[CompletedAttempt],
        locked: Mapping[str, None],  # noqa: ARG002  # all of them
        *,
        first_due: timedelta,
    ) -> _Completed:
        ended = await transitions.end(conn, self.kind, attempts, first_due=first_due)
        return _Completed({it.token: end for it, end in zip(attempts, ended, strict=True) if end is not None})

    async def gave_up(self, conn: Connection, failed: FailedAttempt, subject: None, *, source: str) -> Change:  # noqa: ARG002
        messages = () if self.on_gave_up is None else await self.on_gave_up(conn, failed)
        told = tuple(outbox.event(message, failed.traceparent) for message in messages)
        await outbox.add(conn, told)
        return Change((), told, settled=True)
