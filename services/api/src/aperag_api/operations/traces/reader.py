"""A trace read back from the stream by its subject."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog
from nats import errors as nats_errors
from nats.js import errors as js_errors
from pydantic import ValidationError

from aperag_common import errors, subjects
from aperag_common.telemetry.record import SPANS, SpanRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js import JetStreamContext

log = structlog.get_logger(__name__)

MAX_SPANS = 10_000

# An id is part of a subject: a wildcard in it would read everybody's traces.
_TRACE_ID = re.compile(r"[0-9a-f]{32}\Z")


async def read_trace(js: JetStreamContext, trace_id: str, *, limit: int = MAX_SPANS) -> list[SpanRecord]:
    """Spans in order of their start, empty for an unknown trace; whether the caller may see it is not asked here.

    Needs to publish to ``$JS.API.DIRECT.GET.APERAG_SPANS`` and nothing else: it makes no consumer.
    """
    if not _TRACE_ID.match(trace_id):
        raise errors.InvalidParameter("a trace id is 32 lowercase hexadecimal characters")
    found: dict[str, SpanRecord] = {}
    async for body in _messages(js, subjects.span(trace_id)):
        try:
            spans = SPANS.validate_json(body)
        except ValidationError:
            log.warning("spans.unreadable", trace_id=trace_id)
            continue
        found.update((span.span_id, span) for span in spans)
        if len(found) >= limit:
            break
    return sorted(found.values(), key=lambda span: (span.start, span.end))[:limit]


async def _messages(js: JetStreamContext, subject: str) -> AsyncIterator[bytes]:
    sequence = 1
    while True:
        try:
            message = await js.get_msg(subjects.SPANS, seq=sequence, subject=subject, direct=True, next=True)
        except js_errors.NotFoundError:
            return
        except (nats_errors.Error, js_errors.Error, TimeoutError) as err:
            raise errors.UpstreamUnavailable(f"the spans cannot be read now: {err!r}") from err
        yield message.data or b""
        sequence = (message.seq or sequence) + 1
