"""The one place that knows uvicorn and its internals: connections whose clients have to keep pace.

Whoever holds a connection has to use it. ``Server`` and ``Pace`` are all that others see of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from starlette.types import ASGIApp
    from uvicorn.server import ServerState

log = structlog.get_logger(__name__)

FRAME_BYTES = 256 * 1024
"""Of what a client may send over a WebSocket at once: several times the longest question."""
GRACE_SECONDS = 5
OTHER_DESCRIPTORS = 256
"""Of a process: the pool of its database, the bus, what its libraries hold open."""
DESCRIPTORS_PER_CONNECTION = 2
"""Its socket, and the document that it brings or fetches."""


@dataclass(frozen=True, slots=True)
class Pace:
    """``body_rate`` is in bytes per second, measured over ``body`` at a time."""

    head: timedelta
    body: timedelta
    body_rate: int
    send: timedelta
    connections: int


class PacedConfig(uvicorn.Config):
    """Brings a server's ``Pace`` to its connections."""

    def __init__(self, app: Any, pace: Pace, **options: Any) -> None:
        super().__init__(app, http=PacedConnection, **options)
        self.pace = pace


class Server(uvicorn.Server):
    """Leaves the process's signals to its owner and says when it has started."""

    def __init__(self, app: ASGIApp, pace: Pace, *, max_head_size: int, sockets: bool) -> None:
        config = PacedConfig(
            app,
            pace,
            h11_max_incomplete_event_size=max_head_size,
            ws="websockets-sansio" if sockets else "none",
            ws_max_size=FRAME_BYTES,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who is believed is decided where the headers are read
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        super().__init__(config)
        self.up = asyncio.Event()

    def end(self) -> None:
        """Requests in flight get a few seconds to end."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class _Owed(Enum):
    """What of a request has yet to come from the client."""

    HEAD = auto()
    BODY = auto()


class PacedConnection(H11Protocol):
    """Cut where a head does not end, a body drips, or an answer is not taken.

    Time in which this side does not read is nobody's fault. The application sees what is cut as a client that left.
    """

    def __init__(
        self,
        config: PacedConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._pace = config.pace
        self._owed: _Owed | None = None
        self._owed_timer: asyncio.TimerHandle | None = None
        self._taken_timer: asyncio.TimerHandle | None = None
        self._arrived = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in its base
        super().connection_made(transport)
        self.flow = _Flow(transport, self._on_reading_again)
        if len(self.connections) > self._pace.connections:
            self._cut(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open: try again")
            return
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owe(None)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._arrived += len(data)
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._taken_timer is None:
            self._taken_timer = self.loop.call_later(self._pace.send.total_seconds(), self._on_untaken)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taken_timer is not None:
            self._taken_timer.cancel()
            self._taken_timer = None

    def _follow(self) -> None:
        owed = None if self.transport.is_closing() else self._find_owed()
        if owed is not self._owed:
            self._owe(owed)

    def _find_owed(self) -> _Owed | None:
        if self.conn.their_state is h11.SEND_BODY:
            return _Owed.BODY
        # Between two requests a client owes nothing; how long it may rest there uvicorn watches.
        begun = self.cycle is None or bool(self.conn.trailing_data[0])
        return _Owed.HEAD if self.conn.their_state is h11.IDLE and begun else None

    def _owe(self, owed: _Owed | None) -> None:
        if self._owed_timer is not None:
            self._owed_timer.cancel()
        self._owed, self._owed_timer, self._arrived = owed, None, 0
        if owed is _Owed.HEAD:
            self._owed_timer = self.loop.call_later(self._pace.head.total_seconds(), self._on_no_head)
        elif owed is _Owed.BODY:
            self._owed_timer = self.loop.call_later(self._pace.body.total_seconds(), self._on_body_due)

    def _on_reading_again(self) -> None:
        if self._owed is _Owed.BODY:
            self._owe(_Owed.BODY)

    def _on_no_head(self) -> None:
        self._cut(HTTPStatus.REQUEST_TIMEOUT, "The head of the request did not end in time")

    def _on_body_due(self) -> None:
        held = self.flow.read_paused or bool(self.cycle.body) or self.cycle.waiting_for_100_continue
        unread = held and not self.cycle.response_complete
        if unread or self._arrived >= self._pace.body_rate * self._pace.body.total_seconds():
            self._owe(_Owed.BODY)
        else:
            self._cut(HTTPStatus.REQUEST_TIMEOUT, "The body of the request arrived too slowly")

    def _on_untaken(self) -> None:
        log.info("connection.cut", reason="The answer is not taken")
        self.transport.abort()

    def _cut(self, status: HTTPStatus, reason: str) -> None:
        if self.transport.is_closing():
            return
        log.info("connection.cut", reason=reason)
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._say(status, reason)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._owe(None)
        self.transport.close()

    def _say(self, status: HTTPStatus, reason: str) -> None:
        body = json.dumps({"detail": reason}).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ]
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append(("retry-after", "1"))
        answer = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")


class _Flow(FlowControl):
    """Says when reading begins again after it was held back."""

    def __init__(self, transport: asyncio.Transport, on_reading_again: Callable[[], None]) -> None:
        super().__init__(transport)
        self._on_reading_again = on_reading_again

    def resume_reading(self) -> None:
        held_back = self.read_paused
        super().resume_reading()
        if held_back:
            self._on_reading_again()


def use_all_descriptors() -> int:
    """Ask for as many file descriptors as this process may have; how many connections they suffice for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError) as err:  # some systems call unlimited what they do not grant
            log.info("descriptors.kept", limit=soft, error=repr(err))
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    return max(1, (soft - OTHER_DESCRIPTORS) // DESCRIPTORS_PER_CONNECTION)
