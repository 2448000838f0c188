"""What a running service says is wrong with it reaches whoever asks the doctor."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from aperag_cli.stack.doctor import Finding, findings_of_service
from aperag_standalone import ports

if TYPE_CHECKING:
    from collections.abc import Iterator

DIFFERENCE = "storage of stream APERAG_COMMANDS is memory and should be file"


def check(*, ok: bool, detail: str | None = None) -> dict[str, Any]:
    return {"ok": ok, "detail": detail, "ms": 1.0}


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of one that answers with these checks."""
    body = json.dumps({"status": "degraded", "checks": request.param}).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path != "/readyz" else 200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer((ports.LOOPBACK, 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("service", [{"nats": check(ok=True), "streams": check(ok=True)}], indirect=True)
def test_a_service_that_is_well_is_not_mentioned(service: int) -> None:
    assert list(findings_of_service("reconciler", service)) == []


@pytest.mark.parametrize(
    "service",
    [{"streams": check(ok=False, detail=DIFFERENCE), "postgres": check(ok=False, detail="no answer within 2 s")}],
    indirect=True,
)
def test_each_check_that_fails_is_told_with_what_to_do(service: int) -> None:
    assert list(findings_of_service("reconciler-2", service)) == [
        Finding("  reconciler-2 streams", DIFFERENCE, "see docs/operations.md, 'A stream that differs'"),
        Finding("  reconciler-2 postgres", "no answer within 2 s", "aperag logs reconciler"),
    ]


def test_a_service_that_does_not_answer_is_told_too() -> None:
    [found] = findings_of_service("indexer", ports.free_port())
    assert (found.subject, found.remedy) == ("  indexer", "aperag logs indexer")
    assert "ConnectError" in found.seen
