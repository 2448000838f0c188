"""What the browser may do on our pages, and which requests it may send us."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No inline script or style, no eval, nothing from elsewhere."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({"same-origin", "none"})
"""Of ``Sec-Fetch-Site``; ``none``: the person typed the address or opened a bookmark."""


class Protected:
    """Puts the policy on every answer, and refuses what another site's page sends with a person's cookies.

    The gateway cannot see this: to it, the console is the one who asks.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["method"] not in SAFE and not same_origin(Headers(scope=scope)):
            refusal = PlainTextResponse("Another site's page sent this request: do it on a page of this one", 403)
            await refusal(scope, receive, protected)
            return
        await self._app(scope, receive, protected)


def same_origin(headers: Headers) -> bool:
    """A browser says where an unsafe request comes from. What says nothing is no browser, and no site can make it send."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site.strip().lower() in _OWN
    origin = headers.get("origin")
    return origin is None or _host_of(origin) == headers.get("host", "").strip().lower()


def _host_of(origin: str) -> str | None:
    try:
        parts = urlsplit(origin.strip())
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in {"http", "https"} and parts.netloc else None
