"""The gateway's application inside what holds for every answer, those to unforeseen failures included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware

from aperag_api.kernel.http import reference
from aperag_api.kernel.http.answers import REQUEST_ID, Answers
from aperag_api.kernel.http.schemas import with_refusals

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from aperag_api.kernel.http.settings import CorsSettings
    from aperag_common.http.front import Front

NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""Until ``init_fastapi_instrumentation`` says otherwise."""
READABLE = (REQUEST_ID, "Retry-After", "Idempotency-Replayed", "Content-Disposition")
"""Headers that a page of another origin may read beside the usual ones."""


class Application(FastAPI):
    """Middleware of its own would stand inside the handler of unforeseen failures, whose answers it would not see."""

    def __init__(self, *, front: Front, cors: CorsSettings, **options: Any) -> None:
        # The framework's own pages load their scripts from somebody else's server.
        super().__init__(docs_url=None, redoc_url=None, telemetry=NO_TELEMETRY, **options)
        reference.install(self)
        inside: ASGIApp = super().__call__
        if cors.origins:
            inside = CORSMiddleware(
                inside,
                allow_origins=cors.origins,
                allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
                allow_headers=("*",),
                allow_credentials=cors.credentials,
                expose_headers=READABLE,
            )
        self._outside = Answers(inside, front)

    def openapi(self) -> dict[str, Any]:
        return with_refusals(super().openapi())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._outside(scope, receive, send)
