"""Routes of traces: people read them, services bring the spans."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBearer

from aperag_api.kernel.auth import ScopedReader
from aperag_api.kernel.limits import unlimited
from aperag_api.operations.services import Services
from aperag_api.operations.traces import otlp
from aperag_api.operations.traces.otlp import Encoding, Refused
from aperag_api.operations.traces.schemas import TraceOut

router = APIRouter(tags=["traces"])
intake = APIRouter(prefix="/v1", tags=["traces"])

_SERVICE = HTTPBearer(
    scheme_name="ServiceToken",
    description="`APERAG_TRACES_TOKEN`, which the services of one installation share; no API key",
    auto_error=False,
)
_BODY: dict[str, Any] = {
    Encoding.PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
    Encoding.JSON: {"schema": {"type": "object"}},
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": _BODY}
    for status, what in {
        200: "An `ExportTraceServiceResponse`, which counts the spans that could not be kept",
        400: "The body is no `ExportTraceServiceRequest`; a `google.rpc.Status`, as for what follows",
        401: "No token of a service: an API key and a session are none",
        413: f"More than {otlp.MAX_BODY} bytes, also once unpacked, or more than {otlp.MAX_SPANS} spans",
        415: f"Neither `{Encoding.PROTOBUF}` nor `{Encoding.JSON}`, or packed with anything but gzip",
        503: "The spans have nowhere to go now",
    }.items()
}


_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}


@router.get("/traces/{trace_id}")
async def get_trace(trace_id: str, caller: ScopedReader, services: Services) -> TraceOut:
    return await services.traces.get(caller, trace_id)


@intake.post(
    "/traces",
    response_class=Response,
    responses=_ANSWERS,
    openapi_extra={"requestBody": {"content": _BODY, "required": True}},
)
async def take_spans(request: Request, services: Services, _: Annotated[object, Depends(_SERVICE)]) -> Response:
    """Spans of the installation's own services, by OTLP over HTTP: any OpenTelemetry exporter sends them."""
    headers = request.headers
    encoding = otlp.encoding_of(headers.get("content-type", ""))
    if not services.spans.admits(headers.get("authorization", "")):
        return _refusal(encoding, Refused(401, "Only a service that shows APERAG_TRACES_TOKEN may send spans"))
    if encoding is None:
        message = f"The content type is neither {Encoding.PROTOBUF} nor {Encoding.JSON}"
        return _refusal(encoding, Refused(415, message))
    try:
        answer = await services.spans.take(unlimited(request), headers.get("content-encoding", ""), encoding)
    except Refused as refused:
        return _refusal(encoding, refused)
    return Response(answer, media_type=encoding)


def _refusal(encoding: Encoding | None, refused: Refused) -> Response:
    """In the request's encoding, where that is one of the two."""
    answered = encoding or Encoding.JSON
    return Response(otlp.refusal(answered, refused.message), refused.status, _HEADERS.get(refused.status), answered)
