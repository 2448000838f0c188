"""The one place that turns a failure into an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import structlog
from fastapi import Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry import trace
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from aperag_api.kernel.masking import clean
from aperag_api.kernel.openai_failures import ROOT as OPENAI
from aperag_api.kernel.openai_failures import TurnFailure, error_body, invalid_body
from aperag_api.kernel.validation import shown
from aperag_common import errors

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = structlog.get_logger(__name__)

PROBLEM = "application/problem+json"

_DATA_EXCEPTION = "22"
"""The SQLSTATE class of values that PostgreSQL cannot hold, such as a NUL character."""

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

_CODES = {HTTPStatus.BAD_REQUEST: "VALIDATION_ERROR", HTTPStatus.NOT_FOUND: "RESOURCE_NOT_FOUND"}
"""The contract's codes of failures that the framework finds; the others are called by their status."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What an answer says about a failure; ``number`` is the contract's numeric code."""

    status: int
    error_code: str
    number: int
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    retryable: bool = False
    headers: dict[str, str] | None = None


def install(app: FastAPI) -> None:
    app.add_exception_handler(errors.ApeRAGError, _on_expected)
    # A connection that is refused or lost while it is made reaches us as the driver raised it.
    for database_error in (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError):
        app.add_exception_handler(database_error, _on_database)
    app.add_exception_handler(UnicodeEncodeError, _on_unstorable)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_unexpected)


async def answer_to(request: Request, exc: Exception) -> Response:
    """What the handlers would answer, for failures that come up before a route is found."""
    handlers = request.app.exception_handlers
    handler = next(handlers[kind] for kind in type(exc).__mro__ if kind in handlers)
    response: Response = await handler(request, exc)
    return response


async def _on_expected(request: Request, exc: Exception) -> Response:
    if isinstance(exc, TurnFailure):
        # The turn has tried again already: a client that repeats the request begins another one.
        once = {"x-should-retry": "false"}
        failure = Failure(exc.status, exc.error_code, exc.number, exc.message, exc.details, headers=once)
    elif isinstance(exc, errors.ClientError):
        failure = Failure(exc.status, exc.error_code, exc.number, exc.message, exc.details)
    elif isinstance(exc, errors.Retryable):
        wait = {"Retry-After": str(max(1, round(exc.retry_after.total_seconds())) if exc.retry_after else 1)}
        failure = Failure(
            exc.status, exc.error_code, exc.number, exc.message, exc.details, retryable=True, headers=wait
        )
    else:
        return await _on_unexpected(request, exc)
    return _answer(request, failure)


async def _on_database(request: Request, exc: Exception) -> Response:
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    if str(getattr(cause, "sqlstate", "")).startswith(_DATA_EXCEPTION):
        return await _on_unstorable(request, exc)
    log.error("request.database_error", path=_path(request), error=repr(exc))
    failure = Failure(500, "DATABASE_ERROR", 1050, "The database did not answer", retryable=True)
    return _answer(request, failure)


async def _on_unstorable(request: Request, _: Exception) -> Response:
    message = "A value holds characters that cannot be stored"
    return _answer(request, Failure(400, "VALIDATION_ERROR", 1051, message))


async def _on_disconnect(request: Request, _: Exception) -> Response:
    log.info("request.abandoned", path=_path(request))
    return Response(status_code=400)  # to nobody


async def _on_unexpected(request: Request, exc: Exception) -> Response:
    log.error("request.failed", path=_path(request), exc_info=exc)
    return _answer(request, Failure(500, "INTERNAL_ERROR", 1000, "Internal server error"))


async def _on_http(request: Request, exc: Exception) -> Response:
    failed = cast("HTTPException", exc)
    if failed.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        failed.headers = {"Allow": ", ".join(_methods_of(request))}
    if _is_openai(request):
        body = error_body(failed.status_code, str(failed.detail))
        return JSONResponse(body, failed.status_code, headers=failed.headers)
    if not _wants_problem(request):
        return await http_exception_handler(request, failed)
    status = HTTPStatus(failed.status_code)
    # What a framework says is a sentence; where the contract wants more, it is a code with its sentence.
    said: Any = failed.detail
    code, message = (said["error_code"], said["message"]) if isinstance(said, dict) else (_CODES.get(status), str(said))
    return _problem(request, Failure(status, code or status.name, 0, message, headers=dict(failed.headers or {})))


def _methods_of(request: Request) -> list[str]:
    """Of every route at this path: the router names those of the first one only."""
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    routes = request.app.routes
    return [m for m, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def _on_invalid(request: Request, exc: Exception) -> Response:
    invalid = shown(cast("RequestValidationError", exc).errors())
    if _is_openai(request):
        return JSONResponse(invalid_body(invalid[0]), 400)
    if not _wants_problem(request):
        return JSONResponse({"detail": invalid}, 422)
    where = [{"loc": error["loc"], "type": error["type"], "msg": error["msg"]} for error in invalid]
    return _problem(request, Failure(422, "VALIDATION_ERROR", 1051, "The request is not valid", {"errors": where}))


def _answer(request: Request, failure: Failure) -> Response:
    if _is_openai(request):
        told = error_body(failure.status, failure.message, failure.error_code, failure.details.get("param"))
        return JSONResponse(told, failure.status, headers=failure.headers)
    if _wants_problem(request):
        return _problem(request, failure)
    body = {
        "success": False,
        "error_code": failure.error_code,
        "code": failure.number,
        "message": failure.message,
        "details": failure.details,
        "path": _path(request),
    }
    return JSONResponse(body, failure.status, headers=failure.headers)


def _path(request: Request) -> str:
    """People write a key where its id belongs."""
    return clean(request.url.path)


def _is_openai(request: Request) -> bool:
    return str(request.scope["path"]).startswith(OPENAI)


def _wants_problem(request: Request) -> bool:
    return PROBLEM in request.headers.get("accept", "")


def _problem(request: Request, failure: Failure) -> Response:
    """RFC 9457."""
    context = trace.get_current_span().get_span_context()
    body = {
        **failure.details,
        "type": "about:blank",
        "title": HTTPStatus(failure.status).phrase,
        "status": failure.status,
        "detail": failure.message,
        "instance": _path(request),
        "error_code": failure.error_code,
        "trace_id": trace.format_trace_id(context.trace_id) if context.is_valid else None,
        "request_id": getattr(request.state, "request_id", None),
        "retryable": failure.retryable,
    }
    return JSONResponse(body, failure.status, headers=failure.headers, media_type=PROBLEM)
