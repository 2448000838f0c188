"""The answer to a request for a summary (contract 1.3)."""

from __future__ import annotations

from pydantic import BaseModel

from aperag_common.work.summaries import SummaryStatus


class SummaryRequested(BaseModel):
    """``success`` is false where nothing was begun: one is being made already, or the collection wants none."""

    collection_id: str
    success: bool
    message: str
    summary_status: SummaryStatus
