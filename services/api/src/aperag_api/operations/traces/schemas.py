"""A trace as clients see it."""

from __future__ import annotations

from pydantic import BaseModel

from aperag_common.telemetry.record import SpanRecord


class TraceOut(BaseModel):
    """Spans sorted by start; times are nanoseconds since 1970."""

    trace_id: str
    spans: list[SpanRecord]
