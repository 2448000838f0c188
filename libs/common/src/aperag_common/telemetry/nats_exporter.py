"""Spans on their way to the stream: batched in the exporter's thread, published from the service's loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from nats import errors as nats_errors
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from pydantic_core import PydanticSerializationError

from aperag_common import subjects
from aperag_common.tasks import end_tasks
from aperag_common.telemetry.record import is_sql, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nats.aio.client import Client
    from opentelemetry.sdk.trace import ReadableSpan

    from aperag_common.telemetry.record import SpanRecord

log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 900_000
MAX_SPAN_BYTES = 64_000
MAX_WAITING_BYTES = 8 * 1024 * 1024
RETRY_SECONDS = 0.5
TRUNCATED = {"aperag.truncated": True}


@dataclass(frozen=True, slots=True)
class SpanMessage:
    """One message of one trace."""

    subject: str
    body: bytes
    spans: int


class NatsSpanExporter(SpanExporter):
    """Never waits for NATS and never fails its caller: at the bound the oldest messages are dropped and counted."""

    def __init__(self, service: str, *, sql_spans: bool = True, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self.dropped = 0
        self._service = service
        self._sql_spans = sql_spans
        self._max_waiting_bytes = max_waiting_bytes
        self._lock = threading.Lock()
        self._waiting: deque[SpanMessage] = deque()
        self._waiting_bytes = 0
        self._dropping = False
        self._filled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sender: asyncio.Task[None] | None = None
        self._nc: Client | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the span processor's thread."""
        records = [record_of(span, service=self._service) for span in spans if self._wanted(span)]
        for message in messages_of(records):
            self._put(message)
        if self._loop is not None:
            # The loop may close between two batches; what is left then has nobody to send it.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._filled.set)
        return SpanExportResult.SUCCESS

    def attach(self, nc: Client) -> None:
        """Called in the loop that owns ``nc``; what was exported before goes out now."""
        self._nc = nc
        self._loop = asyncio.get_running_loop()
        self._filled.set()
        self._sender = asyncio.create_task(self._send_always(nc), name="span-sender")

    async def close(self, *, seconds: float) -> None:
        """Sends what waits if NATS answers within ``seconds``; drops and counts the rest."""
        if self._sender is not None:
            await end_tasks(self._sender)
        if self._nc is not None and self._nc.is_connected:
            with contextlib.suppress(nats_errors.Error, TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._send_waiting(self._nc)
                    await self._nc.flush()
        with self._lock:
            while self._waiting:
                self._drop(self._take_oldest(), reason="stopped")

    def _wanted(self, span: ReadableSpan) -> bool:
        # A statement outside any span is a poll: a trace of its own for each would crowd out what people look for.
        return not is_sql(span) or (self._sql_spans and span.parent is not None)

    def _put(self, message: SpanMessage) -> None:
        with self._lock:
            self._waiting.append(message)
            self._waiting_bytes += len(message.body)
            while self._waiting_bytes > self._max_waiting_bytes:
                self._drop(self._take_oldest(), reason="not connected")

    def _take(self) -> SpanMessage | None:
        with self._lock:
            return self._take_oldest() if self._waiting else None

    def _take_oldest(self) -> SpanMessage:
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message.body)
        return message

    def _drop(self, message: SpanMessage, *, reason: str) -> None:
        self.dropped += message.spans
        if not self._dropping:  # once per outage
            self._dropping = True
            log.warning("spans.dropped", reason=reason, dropped=self.dropped)

    async def _send_always(self, nc: Client) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._filled.wait(), RETRY_SECONDS if self._waiting else None)
            self._filled.clear()
            await self._send_waiting(nc)

    async def _send_waiting(self, nc: Client) -> None:
        # While NATS is away nothing is handed over: the client's own buffer is for commands.
        while nc.is_connected and (message := self._take()) is not None:
            try:
                await nc.publish(message.subject, message.body)
            except nats_errors.Error as err:
                self._drop(message, reason=repr(err))
            else:
                self._dropping = False


def messages_of(records: Sequence[SpanRecord]) -> Iterator[SpanMessage]:
    """One message per trace, more where it would outgrow what the server takes."""
    by_trace: dict[str, list[bytes]] = {}
    for record in records:
        by_trace.setdefault(record.trace_id, []).append(_encode(record))
    for trace_id, encoded in by_trace.items():
        subject = subjects.span(trace_id)
        for part in _parts(encoded):
            yield SpanMessage(subject, b"[" + b",".join(part) + b"]", len(part))


def _encode(record: SpanRecord) -> bytes:
    """Without its attributes where they are too large or no text (a broken file name, say)."""
    with contextlib.suppress(PydanticSerializationError):
        encoded = record.model_dump_json().encode()
        if len(encoded) <= MAX_SPAN_BYTES:
            return encoded
    return record.model_copy(update={"attributes": TRUNCATED}).model_dump_json().encode()


def _parts(encoded: Sequence[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for span in encoded:
        if part and size + len(span) > MAX_MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(span)
        size += len(span) + 1
    if part:
        yield part
