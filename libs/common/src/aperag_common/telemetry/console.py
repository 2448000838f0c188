"""Spans on standard error, for people who look at one process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from pydantic_core import PydanticSerializationError

from aperag_common.telemetry.record import record_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan


class ConsoleExporter(SpanExporter):
    """One JSON object per line, in the form of the stream: without statements, whose text may quote a document."""

    def __init__(self, service: str) -> None:
        self._service = service

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            record = record_of(span, service=self._service)
            try:
                line = record.model_dump_json()
            except PydanticSerializationError:  # a broken file name, say
                line = record.model_copy(update={"attributes": {}}).model_dump_json()
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        return SpanExportResult.SUCCESS
