"""The answer to a request for a summary (contract 1.3)."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel


class SummaryStatus(StrEnum):
    """The contract's words."""

    PENDING = "PENDING"
    GENERATING = "GENERATING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"


class SummaryRequested(BaseModel):
    """``success`` is false where nothing was begun: the collection wants no summary, or one is being made already.

    In the latter case one more is made after it.
    """

    collection_id: str
    success: bool
    message: str
    summary_status: SummaryStatus
