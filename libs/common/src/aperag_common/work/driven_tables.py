"""Driven tables whose rows are no document steps: the purges of collections and users, summaries; later chat turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.db.models.base import StepStatus
from aperag_common.settings import WorkStep
from aperag_common.work.dispatch import Dispatch, purge_dispatch, summary_dispatch, user_purge_dispatch

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class DrivenRow:
    """The columns of a driven row that its command is made of; field names are column names."""

    id: str
    owner: str
    status: str
    generation: int
    dispatch: int
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class DrivenTable:
    """``name`` is also the kind in dead letters and metrics; ``step`` names its retry policy.

    ``wanted`` is the status in which a generation begins: DELETING where the work ends with the row's removal.
    """

    name: str
    step: WorkStep
    wanted: StepStatus
    command: Callable[..., Dispatch]
    of_collection: bool = True
    """A row's id is that of its collection."""

    def dispatch(self, row: DrivenRow, *, source: str) -> Dispatch:
        return self.command(row.id, row.owner, row.generation, row.dispatch, row.traceparent, source=source)


PURGE = DrivenTable("collection_purge", WorkStep.PURGE, StepStatus.DELETING, purge_dispatch)
USER_PURGE = DrivenTable("user_purge", WorkStep.PURGE, StepStatus.DELETING, user_purge_dispatch, of_collection=False)
SUMMARY = DrivenTable("collection_summary", WorkStep.SUMMARIZE, StepStatus.PENDING, summary_dispatch)

TABLES = {table.name: table for table in (PURGE, USER_PURGE, SUMMARY)}
