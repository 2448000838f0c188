"""OTLP over HTTP as far as a receiver of spans has to speak it: both encodings, packed or not, and its own refusals."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from aperag_api.operations.traces.spans import spans_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

MAX_BODY = 4 * 1024 * 1024
"""Bytes, both as sent and unpacked."""
MAX_SPANS = 2048
"""Four times what OpenTelemetry sends in one batch."""
GZIP = 16 + zlib.MAX_WBITS


class Encoding(StrEnum):
    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


class Refused(Exception):
    """``status`` is that of HTTP; the message goes to whoever sent the spans."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Batch:
    """``invalid`` is how many spans beside these have no ids that can be."""

    spans: list[ReadableSpan]
    invalid: int


def encoding_of(content_type: str) -> Encoding | None:
    media = content_type.partition(";")[0].strip().lower()
    return next((encoding for encoding in Encoding if encoding == media), None)


def unpacked(body: bytes, content_encoding: str) -> bytes:
    """At most ``MAX_BODY`` bytes are ever unpacked, whatever a body unfolds to."""
    match content_encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip":
            return _gunzipped(body)
    raise Refused(415, "The body may be packed with gzip, or not at all")


def _gunzipped(body: bytes) -> bytes:
    decompressor = zlib.decompressobj(GZIP)
    try:
        found = decompressor.decompress(body, MAX_BODY + 1)
    except zlib.error as err:
        raise Refused(400, "The body is no gzip") from err
    if len(found) > MAX_BODY:
        raise too_large()
    if not decompressor.eof:
        raise Refused(400, "The body ends before its gzip does")
    return found


def too_large() -> Refused:
    return Refused(413, f"The body is larger than {MAX_BODY} bytes: send fewer spans at a time")


def decode(body: bytes, encoding: Encoding) -> Batch:
    """Raises ``Refused`` where it is none, or holds more than ``MAX_SPANS``."""
    request = _from_json(body) if encoding is Encoding.JSON else _from_protobuf(body)
    count = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
    if count > MAX_SPANS:
        raise Refused(413, f"The request holds {count} spans: send at most {MAX_SPANS} at a time")
    spans = list(spans_of(request))
    return Batch(spans, count - len(spans))


def _from_protobuf(body: bytes) -> ExportTraceServiceRequest:
    try:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)  # type: ignore[no-untyped-call]  # not annotated there
    except DecodeError as err:
        raise Refused(400, "The body is no ExportTraceServiceRequest in protobuf") from err
    return request


def _from_json(body: bytes) -> ExportTraceServiceRequest:
    try:
        document = json.loads(body)
        for carrier in _carriers_of_ids(document):
            _spell_ids(carrier)
        request = ExportTraceServiceRequest()
        json_format.ParseDict(document, request, ignore_unknown_fields=True)
    except (ValueError, TypeError, AttributeError, RecursionError, json_format.ParseError) as err:
        raise Refused(400, "The body is no ExportTraceServiceRequest in JSON") from err
    return request


def _carriers_of_ids(document: Any) -> Iterator[dict[str, Any]]:
    for resource in document.get("resourceSpans") or ():
        for scope in resource.get("scopeSpans") or ():
            for span in scope.get("spans") or ():
                yield span
                yield from span.get("links") or ()


def _spell_ids(carrier: dict[str, Any]) -> None:
    """OTLP writes ids in hexadecimal, where protobuf's JSON has bytes in base64."""
    for name in ("traceId", "spanId", "parentSpanId"):
        if name in carrier:
            try:
                raw = bytes.fromhex(carrier[name])
            except (ValueError, binascii.Error):
                raw = b""  # an id that cannot be: its span is counted as invalid
            carrier[name] = base64.b64encode(raw).decode("ascii")


def accepted(encoding: Encoding, *, rejected: int, why: str) -> bytes:
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = why
    return _encoded(answer, encoding)


def refusal(encoding: Encoding, message: str) -> bytes:
    """A ``google.rpc.Status``, as OTLP wants it; HTTP's status says the rest."""
    return _encoded(status_pb2.Status(message=message), encoding)


def _encoded(message: Message, encoding: Encoding) -> bytes:
    if encoding is Encoding.JSON:
        return json.dumps(json_format.MessageToDict(message)).encode()
    return bytes(message.SerializeToString())
