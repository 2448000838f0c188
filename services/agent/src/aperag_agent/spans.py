"""Spans of what the agent asks others to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind, StatusCode

from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def asking(name: str, **attributes: str) -> Iterator[None]:
    """Of a failure only the kind is kept: its message may quote a document, or a key that a provider refused."""
    with propagate.tracer().start_as_current_span(
        name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except Exception as err:
            span.set_attribute("error.type", type(err).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise
