"""States that follow from other states; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.db.models.base import JobStatus
from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.models.workflow import Outcome, WorkflowStatus
from aperag_common.jobs.steps import StepKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CANCELLED = "CANCELLED"
"""The error code of a job that was cancelled before it ever served."""


@dataclass(frozen=True, slots=True)
class JobState:
    """What a document's status is derived from."""

    kind: str
    status: str
    generation: int
    observed_generation: int
    error_code: str | None = None
    error_message: str | None = None


def document_status(jobs: Iterable[JobState]) -> DocumentStatus:
    """The contract's rule, with one addition: a document whose parse is settled while builds wait is RUNNING."""
    states = [job for job in jobs if job.status != JobStatus.DELETED]
    statuses = {state.status for state in states}
    if JobStatus.FAILED in statuses:
        return DocumentStatus.FAILED
    if statuses & {JobStatus.CREATING, JobStatus.DELETING, JobStatus.DELETION_IN_PROGRESS}:
        return DocumentStatus.RUNNING
    if statuses == {JobStatus.ACTIVE}:
        return DocumentStatus.COMPLETE
    parsed = any(s.kind == StepKind.PARSE.job and s.observed_generation == s.generation for s in states)
    return DocumentStatus.RUNNING if parsed else DocumentStatus.PENDING


def failure(jobs: Iterable[JobState]) -> JobState | None:
    """The failed job that says best why a task ended badly: what was cancelled with it says least."""
    failed = [job for job in jobs if job.status == JobStatus.FAILED and job.error_code]
    return min(failed, key=lambda job: (job.error_code == CANCELLED, job.kind != StepKind.PARSE.job), default=None)


def workflow_status(outcomes: Mapping[str, str]) -> WorkflowStatus:
    """``outcomes`` maps each expected step to how it ended; RUNNING while one is open.

    FAILED where a step failed and no index was built, PARTIAL where one was; else CANCELLED, then SUPERSEDED, where any
    step ended so. SUCCESS needs every step. A parse that worked is no index by itself.
    """
    values = set(outcomes.values())
    if Outcome.OPEN in values:
        return WorkflowStatus.RUNNING
    if Outcome.FAILED in values:
        indexes = {outcome for kind, outcome in outcomes.items() if kind != StepKind.PARSE} or values
        return WorkflowStatus.PARTIAL if Outcome.DONE in indexes else WorkflowStatus.FAILED
    if Outcome.CANCELLED in values:
        return WorkflowStatus.CANCELLED
    if Outcome.SUPERSEDED in values:
        return WorkflowStatus.SUPERSEDED
    return WorkflowStatus.SUCCESS
