"""Numbers of jobs as values: when a command counts as lost, when a failure is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from aperag_common.jobs import declared as _declared  # noqa: F401  registers the kinds
from aperag_common.jobs.kind import kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_common.jobs.kind import JobKind, Work
    from aperag_common.settings import RetrySettings, WorkSettings

NAK_UP_TO = timedelta(seconds=5)
"""A longer delay is left to the redrive: delayed naks fill max_ack_pending and starve everyone."""

PUNCTUAL = timedelta(minutes=1)
"""What is due sooner is not left to the next tick of a timer."""

LEASE_SLACK = timedelta(seconds=5)


def comes_back(kind: JobKind, delay: timedelta) -> bool:
    """Whether a retry comes by its message, which the server holds back until then."""
    return not kind.by_due_time and delay <= NAK_UP_TO


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """``retry_jitter`` is the largest share of a retry delay that is added at random.

    ``schedule`` holds delays after the first failure, the second, … in place of those that base and cap give.
    ``retries`` holds whole policies of work that differs in its retries; leases and due times are everybody's.
    """

    lease: timedelta = timedelta(seconds=30)
    beat: timedelta = timedelta(seconds=10)
    first_due: timedelta = timedelta(seconds=60)
    max_due: timedelta = timedelta(minutes=10)
    retry_base: timedelta = timedelta(seconds=1)
    retry_cap: timedelta = timedelta(seconds=60)
    retry_jitter: float = 0.2
    max_failures: int = 4
    max_attempts: int = 12
    schedule: tuple[timedelta, ...] = ()

    retries: Mapping[str, WorkPolicy] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: WorkSettings) -> WorkPolicy:
        """Raises ``ValueError`` for settings of work that nobody declares."""
        common = cls(
            lease=settings.lease,
            beat=settings.beat,
            first_due=settings.first_due,
            max_due=settings.max_due,
            retry_base=settings.retry_base,
            retry_cap=settings.retry_cap,
            retry_jitter=settings.retry_jitter,
            max_failures=settings.max_failures,
            max_attempts=settings.max_attempts,
        )
        retries = {work.retry: _declared_for(common, work) for kind in kinds() for work in kind.works}
        if unknown := settings.steps.keys() - retries.keys():
            message = (
                f"APERAG_WORK__STEPS names {', '.join(sorted(unknown))}: there is only {', '.join(sorted(retries))}"
            )
            raise ValueError(message)
        retries |= {name: _with(retries[name], own) for name, own in settings.steps.items()}
        return replace(common, retries={name: own for name, own in retries.items() if own != common})

    def of_work(self, retry: str) -> WorkPolicy:
        """``retry`` is the name that ``Work`` gives its retries; the common policy where they do not differ."""
        return self.retries.get(retry, self)

    @property
    def latest_due(self) -> timedelta:
        """No job is ever due later than this after it was written, unless it waits for another one or has a schedule."""
        policies = (self, *(it for it in self.retries.values() if not it.schedule))
        waits = [self.max_due, self.lease, *(p.retry_cap * (1 + p.retry_jitter) for p in policies)]
        return max(waits) + LEASE_SLACK

    def latest_of_schedules(self) -> dict[str, timedelta]:
        """As ``latest_due``, of kinds that have a schedule."""
        found: dict[str, timedelta] = {}
        for kind in kinds():
            delays = [it for work in kind.works for it in self.of_work(work.retry).schedule]
            if delays:
                found[kind.name] = max(self.latest_due, max(delays) * (1 + self.retry_jitter) + LEASE_SLACK)
        return found

    def retry_delay(self, failures: int, *, luck: float | None = None) -> timedelta:
        """Delay before the attempt after the ``failures``-th failure (from 1); ``luck`` in 0..1 fixes the jitter."""
        if self.schedule:
            plain = self.schedule[min(failures, len(self.schedule)) - 1]
        else:
            plain = min(self.retry_base * (1 << min(max(failures - 1, 0), 16)), self.retry_cap)
        share = random.random() if luck is None else luck  # noqa: S311  # spreads load, guards nothing
        return plain * (1 + self.retry_jitter * share)


def _declared_for(common: WorkPolicy, work: Work) -> WorkPolicy:
    """Settings for all work lower what a declaration allows, and never raise it; a schedule counts by itself."""
    if work.schedule:
        most = len(work.schedule) + 1
        return replace(common, schedule=work.schedule, max_failures=most, max_attempts=most + common.max_attempts)
    return replace(
        common,
        max_failures=min(work.max_failures or common.max_failures, common.max_failures),
        max_attempts=min(work.max_attempts or common.max_attempts, common.max_attempts),
    )


def _with(policy: WorkPolicy, own: RetrySettings) -> WorkPolicy:
    given = own.model_dump(exclude_none=True)
    return replace(policy, **given, schedule=() if "retry_base" in given else policy.schedule)
