"""Whether a service lives, and whether it can work."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import structlog
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aperag_common import errors
from aperag_common.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from aperag_common.metrics import Metrics

    Check = Callable[[], Awaitable[str | None]]

log = structlog.get_logger(__name__)

CHECK_SECONDS = 2.0


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
            raise ValueError(f"two checks named {name!r}")
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
