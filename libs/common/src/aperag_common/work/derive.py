"""States that follow from other states; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.db.models.base import OPEN_STATUSES, StepStatus
from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.models.document_step import StepKind
from aperag_common.db.models.workflow import Outcome, WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class StepState:
    """What a document's status is derived from."""

    kind: str
    status: str
    generation: int
    observed_generation: int


def is_open(status: str) -> bool:
    return status in OPEN_STATUSES


def document_status(steps: Iterable[StepState]) -> DocumentStatus:
    """The contract's rule, with one addition: a document whose parse is settled while builds wait is RUNNING."""
    states = list(steps)
    statuses = {state.status for state in states}
    if StepStatus.FAILED in statuses:
        return DocumentStatus.FAILED
    if statuses & {StepStatus.CREATING, StepStatus.DELETING, StepStatus.DELETION_IN_PROGRESS}:
        return DocumentStatus.RUNNING
    if statuses == {StepStatus.ACTIVE}:
        return DocumentStatus.COMPLETE
    parsed = any(s.kind == StepKind.PARSE and s.observed_generation == s.generation for s in states)
    return DocumentStatus.RUNNING if parsed else DocumentStatus.PENDING


def workflow_status(outcomes: Mapping[str, str]) -> WorkflowStatus:
    """``outcomes`` maps each expected kind to how it ended; RUNNING while one is open.

    Whether something was lost is judged by the indexes: a parse that worked is no success by itself.
    """
    values = set(outcomes.values())
    if Outcome.OPEN in values:
        return WorkflowStatus.RUNNING
    if Outcome.CANCELLED in values:
        return WorkflowStatus.CANCELLED
    asked = {o for kind, o in outcomes.items() if kind != StepKind.PARSE} or values
    if Outcome.FAILED in values:
        return WorkflowStatus.PARTIAL if Outcome.DONE in asked else WorkflowStatus.FAILED
    if asked == {Outcome.SUPERSEDED}:
        return WorkflowStatus.SUPERSEDED
    return WorkflowStatus.SUCCESS
