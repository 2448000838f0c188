"""The answer to a request for a summary (contract 1.3)."""

from __future__ import annotations

from pydantic import BaseModel

from aperag_work.summaries import SummaryStatus


class SummaryRequested(BaseModel):
    """``success`` is false where nothing was begun: the collection wants no summary, or one is being made already.

    In the latter case one more is made after it.
    """

    collection_id: str
    success: bool
    message: str
    summary_status: SummaryStatus
