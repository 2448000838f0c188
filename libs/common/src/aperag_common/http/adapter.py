"""The one place that knows uvicorn and its internals: connections whose clients have to keep pace.

Whoever holds a connection has to use it. ``Server`` and ``Pace`` are all that others see of this.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aperag_common.http.wire import OFFERS, refusal, without_offers

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from starlette.types import ASGIApp
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

log = structlog.get_logger(__name__)

FRAME_BYTES = 256 * 1024
"""Of what a client may send over a WebSocket at once: several times the longest question."""
GRACE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """``body_rate`` is in bytes per second, measured over ``body`` at a time; ``head_size`` is in bytes.

    The parser itself has no limit on heads: one that comes in a single piece of the network is refused where it is read.
    """

    head: timedelta
    head_size: int
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

    def __init__(self, app: ASGIApp, pace: Pace, *, sockets: bool) -> None:
        config = PacedConfig(
            app,
            pace,
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


class _Stage(Enum):
    """What of a request is arriving, and so what its client owes."""

    HEAD = auto()
    BODY = auto()


class PacedConnection(HttpToolsProtocol):
    """Cut where a head does not end or is too long, a body drips, or an answer is not taken.

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
        # A client that has just connected owes a head. Between two requests it owes nothing; how long it may rest
        # there uvicorn watches.
        self._stage: _Stage | None = _Stage.HEAD
        self._head_size = 0
        self._request_ended = False
        self._answering: RequestResponseCycle | None = None
        self._owed: _Stage | None = None
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
        self._tell_disconnected()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._arrived += len(data)
        resting, self._request_ended = self._stage is None, False
        self._unset_keepalive_if_required()
        self._feed(data)
        if resting and self._stage is None and not self._request_ended:
            # Line breaks before a request, which the parser skips: they must not keep a connection open for ever.
            self._stage = _Stage.HEAD
        if self._stage is _Stage.HEAD and not self._request_ended:
            self._head_size += len(data)
            if self._head_size > self._pace.head_size:
                self._cut(
                    HTTPStatus.BAD_REQUEST, f"The head of the request is longer than {self._pace.head_size} bytes"
                )
        self._follow()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._feed_without_offer(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._cut(HTTPStatus.BAD_REQUEST, "Invalid HTTP request received.")

    def _feed_without_offer(self, rest: bytes) -> None:
        """Clients offer other protocols with requests that are whole without (Java's offers HTTP/2), and the parser takes
        whatever follows such a head for the other protocol's: it reads the head again as if nothing had been offered.
        """
        version = self.parser.get_http_version().encode()
        head = [b" ".join((self.parser.get_method(), self.url, b"HTTP/" + version))]
        kept = ((name, without_offers(value) if name == b"connection" else value) for name, value in self.headers)
        head += [name + b": " + value for name, value in kept if name not in OFFERS and value]
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join((*head, b"", b"")) + rest)

    @property
    def _is_offer(self) -> bool:
        """Of a protocol other than WebSocket; CONNECT asks for one too, and is refused where its address is read."""
        return self.parser.should_upgrade() and not self._should_upgrade() and self.parser.get_method() != b"CONNECT"

    def handle_websocket_upgrade(self) -> None:
        self._stage = None
        self._owe(None)
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        self._stage, self._head_size = _Stage.HEAD, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if not self._is_offer:
            super().on_headers_complete()
            self._stage = _Stage.BODY

    def on_message_complete(self) -> None:
        if not self._is_offer:
            self._stage, self._request_ended = None, True
            super().on_message_complete()

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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _follow(self) -> None:
        owed = None if self.transport.is_closing() else self._stage
        if owed is not self._owed:
            self._owe(owed)

    def _owe(self, owed: _Stage | None) -> None:
        if self._owed_timer is not None:
            self._owed_timer.cancel()
        self._owed, self._owed_timer, self._arrived = owed, None, 0
        if owed is _Stage.HEAD:
            self._owed_timer = self.loop.call_later(self._pace.head.total_seconds(), self._on_no_head)
        elif owed is _Stage.BODY:
            self._owed_timer = self.loop.call_later(self._pace.body.total_seconds(), self._on_body_due)

    def _on_reading_again(self) -> None:
        if self._owed is _Stage.BODY:
            self._owe(_Stage.BODY)

    def _on_no_head(self) -> None:
        self._cut(HTTPStatus.REQUEST_TIMEOUT, "The head of the request did not end in time")

    def _on_body_due(self) -> None:
        held = self.flow.read_paused or bool(self.cycle.body) or self.cycle.waiting_for_100_continue
        unread = held and not self.cycle.response_complete
        if unread or self._arrived >= self._pace.body_rate * self._pace.body.total_seconds():
            self._owe(_Stage.BODY)
        else:
            self._cut(HTTPStatus.REQUEST_TIMEOUT, "The body of the request arrived too slowly")

    def _on_untaken(self) -> None:
        log.info("connection.cut", reason="The answer is not taken")
        self.transport.abort()

    def _cut(self, status: HTTPStatus, reason: str) -> None:
        if self.transport.is_closing():
            return
        log.info("connection.cut", reason=reason)
        if self._may_answer():
            self.transport.write(refusal(status, reason))
        self._tell_disconnected()
        self._owe(None)
        self.transport.close()

    def _may_answer(self) -> bool:
        """Whether the request that is arriving is the next one to be answered, and has no answer yet."""
        if self._answering is None or self._answering.response_complete:
            return self._stage is not _Stage.BODY
        return self._answering is self.cycle and self._stage is _Stage.BODY and not self._answering.response_started

    def _tell_disconnected(self) -> None:
        """The request that is being answered, which need not be the last one that came: clients may send ahead."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()


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
