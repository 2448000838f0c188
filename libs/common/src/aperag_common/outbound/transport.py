"""The connections: each goes to an address that the guard has just checked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpcore
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from httpcore import SOCKET_OPTION

    from aperag_common.outbound.guard import Guard

IDLE_SECONDS = 5.0
CONNECT_SECONDS = 3.0
"""For an address that does not answer, where there is another one to try."""


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Every request passes the guard, the one after a redirect too; no proxy, so nobody else resolves names.

    The host's name stays what the certificate is checked against.
    """

    def __init__(self, guard: Guard, ssl_context: ssl.SSLContext, *, max_connections: int) -> None:
        super().__init__(verify=ssl_context, trust_env=False)
        self._guard = guard
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=max_connections,
            max_keepalive_connections=max_connections // 2,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=_CheckedConnections(guard),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._guard.check_url(request.url)
        return await super().handle_async_request(request)


class _CheckedConnections(httpcore.AsyncNetworkBackend):
    """Connects to the checked address itself: a second lookup could answer differently (DNS rebinding)."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._connections = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._guard.addresses_of(host, port)
        except TimeoutError as err:
            raise httpcore.ConnectTimeout(f"the lookup of {host} took too long") from err
        *others, last = addresses
        share = min(CONNECT_SECONDS, timeout / len(addresses)) if timeout else CONNECT_SECONDS
        for address in others:
            try:
                return await self._connections.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._connections.connect_tcp(last, port, share, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
