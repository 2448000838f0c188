"""Heads of requests that are larger than any client's need are refused before a route sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocketClose

from aperag_api.kernel.errors import answer_to

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from aperag_api.kernel.http.settings import RequestSettings
    from aperag_common.http.front import Front


class HeadLimits:
    """The server bounds the bytes of a head only while it is incomplete.

    A host that is not ours is refused here too: only a page that was made to look like ours names one.
    """

    def __init__(self, app: ASGIApp, limits: RequestSettings, max_head_size: int, front: Front) -> None:
        self._app = app
        self._front = front
        self._limits = limits
        self._max_head_size = max_head_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None if scope["type"] == "lifespan" else self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await (await answer_to(Request(scope), refusal))(scope, receive, send)

    def _refusal(self, scope: Scope) -> HTTPException | None:
        headers = scope["headers"]
        if len(headers) > self._limits.max_headers:
            return HTTPException(431, f"The request has more than {self._limits.max_headers} headers: leave some out")
        if sum(len(name) + len(value) for name, value in headers) > self._max_head_size:
            return HTTPException(431, f"The headers are longer than {self._max_head_size} bytes: shorten them")
        if len(scope["query_string"]) > self._limits.max_query:
            return HTTPException(414, f"The query is longer than {self._limits.max_query} bytes: shorten it")
        if not self._front.knows(HTTPConnection(scope), self._limits.hosts):
            message = "This host name is not known here: its administrator names it in APERAG_REQUESTS__HOSTS"
            return HTTPException(421, f"{message}, or sets APERAG_PUBLIC_URL to the address that people open")
        return None
