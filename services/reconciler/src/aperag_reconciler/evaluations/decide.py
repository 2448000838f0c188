"""What an evaluation's items say of it; pure."""

from __future__ import annotations

from dataclasses import dataclass

from aperag_common.db.models.evaluation import EvaluationStatus

ENDED = frozenset({EvaluationStatus.COMPLETED, EvaluationStatus.FAILED})


@dataclass(frozen=True, slots=True)
class Items:
    """``ended`` counts the failed too; ``average`` is the mean score of those that were judged."""

    total: int
    ended: int
    failed: int
    average: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    status: str
    error_message: str | None
    total_questions: int
    completed_questions: int
    average_score: float | None


def standing(now: Standing, items: Items) -> Standing:
    """As it must be; one whose items have not been made yet is left as it is."""
    if items.total == 0:
        return now
    status, message = now.status, now.error_message
    if items.ended == items.total:
        status, message = EvaluationStatus.COMPLETED.value, None
        if items.failed:
            status = EvaluationStatus.FAILED.value
            message = f"{items.failed} of {items.total} questions failed; retry them, or look at their answers."
    elif status in ENDED:
        status, message = EvaluationStatus.RUNNING.value, None
    return Standing(status, message, items.total, items.ended, items.average)
