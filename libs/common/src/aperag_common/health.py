"""Whether a service lives, whether it can work, and the small HTTP server that says so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aperag_common import errors
from aperag_common.connections import Pace, PacedConfig, use_all_descriptors
from aperag_common.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from aperag_common.metrics import Metrics
    from aperag_common.settings import HttpSettings

    Check = Callable[[], Awaitable[str | None]]

log = structlog.get_logger(__name__)

CHECK_SECONDS = 2.0
GRACE_SECONDS = 5
BACKLOG = 512


@dataclass(frozen=True, slots=True)
class CheckResult:
    """``detail`` is the reason why not, fit for anybody's eyes; ``ms`` how long the answer took."""

    ok: bool
    detail: str | None
    ms: float


@dataclass(frozen=True, slots=True)
class Report:
    """``status`` is ok, degraded (only something not critical is wrong) or unavailable."""

    status: str
    checks: dict[str, CheckResult]

    @property
    def ready(self) -> bool:
        return self.status != "unavailable"


class Health:
    """Named checks of what a service depends on; a check answers None or the reason why not, or raises."""

    def __init__(self, *, timeout: float = CHECK_SECONDS) -> None:
        self._timeout = timeout
        self._checks: dict[str, tuple[Check, bool]] = {}

    def add(self, name: str, check: Check, *, critical: bool = True) -> None:
        if name in self._checks:
            message = f"two checks named {name!r}"
            raise ValueError(message)
        self._checks[name] = (check, critical)

    async def report(self) -> Report:
        """All checks at once, so that it takes no longer than the slowest, and never longer than the time-out."""
        checks = dict(self._checks)
        results = await asyncio.gather(*(self._run(name, check) for name, (check, _) in checks.items()))
        by_name = dict(zip(checks, results, strict=True))
        wrong = [critical for name, (_, critical) in checks.items() if not by_name[name].ok]
        status = "unavailable" if any(wrong) else "degraded" if wrong else "ok"
        return Report(status, by_name)

    async def _run(self, name: str, check: Check) -> CheckResult:
        started = time.perf_counter()
        # gather turns whatever the check raises into a value: that is its answer.
        (answer,) = await asyncio.gather(asyncio.wait_for(check(), self._timeout), return_exceptions=True)
        detail = self._detail(name, answer)
        return CheckResult(detail is None, detail, round((time.perf_counter() - started) * 1000, 1))

    def _detail(self, name: str, answer: str | BaseException | None) -> str | None:
        match answer:
            case TimeoutError():
                return f"no answer within {self._timeout:g} s"
            case errors.ApeRAGError():
                return answer.message
            case BaseException():
                # Only the type is shown: the text of a driver's error may hold addresses and credentials.
                log.warning("health.check_failed", check=name, exc_info=answer)
                return type(answer).__name__
            case _:
                return answer


def routes(health: Health, metrics: Metrics) -> list[Route]:
    """``/livez``, ``/readyz`` and ``/metrics`` for any Starlette or FastAPI application."""

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        report = await health.report()
        return JSONResponse(asdict(report), status_code=200 if report.ready else 503)

    async def scrape(_: Request) -> Response:
        # Readiness is measured when it is asked for: nobody else need probe the service for it to be known.
        report = await health.report()
        metrics.ready.set(report.ready)
        for name, check in report.checks.items():
            metrics.check_ok.labels(name).set(check.ok)
        return Response(metrics.render(), headers={"content-type": CONTENT_TYPE})

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", scrape)]


FRAME_BYTES = 256 * 1024
"""Of what a client may send over a WebSocket at once: several times the longest question."""


class _Uvicorn(uvicorn.Server):
    """Leaves the process's signals to its owner and says when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class HttpServer:
    """An application served inside the caller's loop; the port file appears once it accepts connections."""

    def __init__(self, http: HttpSettings, app: ASGIApp, *, sockets: bool = False) -> None:
        """``sockets``: the application has WebSockets."""
        self.port = 0
        self._http = http
        config = PacedConfig(
            app,
            _pace(http),
            h11_max_incomplete_event_size=http.max_head_size,
            ws="websockets-sansio" if sockets else "none",
            ws_max_size=FRAME_BYTES,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who is believed is decided where the headers are read
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = _Uvicorn(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises OSError when the address cannot be bound."""
        bound = _bind(self._http)
        self.port = bound.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve(sockets=[bound]), name="http-server")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({up, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._serving.done():
            bound.close()
            await self._serving
        if self._http.port_file is not None:
            _write_port(self._http.port_file, self.port)
        log.info("http.listening", host=self._http.host, port=self.port)

    async def stop(self) -> None:
        """Requests in flight get a few seconds to end."""
        if self._serving is None:
            return
        self._server.should_exit = True
        await self._serving
        if self._http.port_file is not None:
            self._http.port_file.unlink(missing_ok=True)


class HealthServer(HttpServer):
    """What a service without an API of its own listens with."""

    def __init__(self, http: HttpSettings, health: Health, metrics: Metrics) -> None:
        super().__init__(http, Starlette(routes=routes(health, metrics)))


def _pace(http: HttpSettings) -> Pace:
    return Pace(
        head=http.head_timeout,
        body=http.body_timeout,
        body_rate=http.body_rate,
        send=http.send_timeout,
        connections=http.max_connections or use_all_descriptors(),
    )


def _bind(http: HttpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    bound = socket.create_server((http.host, http.port), family=family, backlog=BACKLOG)
    # asyncio turns Nagle's algorithm off only for sockets that name their protocol, which this one does not:
    # head and body of an answer leave in two writes, and the second would wait 40 ms for the first one's ack.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def _write_port(target: Path, port: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Readers poll for the file: it must never be seen half written.
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(f"{port}\n", encoding="ascii")
    partial.replace(target)
