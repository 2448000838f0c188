"""The check before every connection: where it leads is decided once, on the address that is then connected to."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

from aperag_common.outbound.addresses import Address, is_host, is_public, network_of, plain
from aperag_common.outbound.failures import BlockedAddress, InvalidUrl, Unreachable
from aperag_common.outbound.settings import HOST_NAME

if TYPE_CHECKING:
    import httpx

    from aperag_common.outbound.settings import OutboundSettings

Resolver: TypeAlias = Callable[[str], Awaitable[list[str]]]
"""The addresses of a host name; raises ``OSError`` where it has none."""

SCHEMES = {"http": 80, "https": 443}
LOOKUPS = 8
LONGEST_URL = 8_000
MOST_ADDRESSES = 4
HIGHEST_PORT = 65_535

_LAST_LABEL_IS_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


class Guard:
    """Names are resolved here and nowhere else; a name with one forbidden address is forbidden."""

    def __init__(self, settings: OutboundSettings, resolver: Resolver | None = None) -> None:
        networks = {entry: network_of(entry) for entry in settings.allow}
        self._hosts = frozenset(entry for entry, network in networks.items() if network is None)
        self._networks = tuple(network for network in networks.values() if network is not None)
        self._allow_private = settings.allow_private
        self._ports = frozenset(settings.ports)
        # A lookup that hangs holds a thread: those of the whole process must not run out for it.
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="lookup")
        self._resolver = resolver or self._look_up

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check_url(self, url: httpx.URL) -> None:
        """What can be judged without a lookup."""
        if url.scheme not in SCHEMES:
            message = f"{_shown(url)} is not an http or https address: write it whole, as in https://example.org/page"
            raise InvalidUrl(message)
        if url.userinfo:
            message = "An address with a user name or a password in it is not asked for: leave out what is before the @"
            raise InvalidUrl(message)
        if len(str(url)) > LONGEST_URL:
            raise InvalidUrl(f"The address is longer than {LONGEST_URL} characters")
        if url.port is not None and not 0 < url.port <= HIGHEST_PORT:
            raise InvalidUrl(f"There is no port {url.port}: ports are numbers up to {HIGHEST_PORT}")
        self._check_host(host_of(url))

    async def check(self, url: httpx.URL) -> None:
        """All that is checked before a connection, where somebody else is to make it."""
        self.check_url(url)
        await self.addresses_of(host_of(url), url.port or SCHEMES[url.scheme])

    async def addresses_of(self, host: str, port: int) -> list[str]:
        """The addresses to connect to, every one of them checked."""
        host = host.lower().rstrip(".")
        literal = self._check_host(host)
        found = [literal] if literal is not None else await self._resolve(host)
        for address in found:
            self._check_address(host, address)
        if port not in self._ports and not all(self._is_listed(host, address) for address in found):
            raise BlockedAddress(f"Port {port} of {host} is none of those that may be asked for")
        return list(dict.fromkeys(str(address) for address in found))[:MOST_ADDRESSES]

    async def _resolve(self, host: str) -> list[Address]:
        try:
            found = [ip_address(text.partition("%")[0]) for text in await self._resolver(host)]
        except OSError as err:
            raise Unreachable(f"There is no host {host}") from err
        if not found:
            raise Unreachable(f"The host {host} has no address")
        return found

    def _check_host(self, host: str) -> Address | None:
        """The address that ``host`` spells, already checked, or None for a name."""
        try:
            address = ip_address(host)
        except ValueError:
            self._check_name(host)
            return None
        self._check_address(host, address)
        return address

    def _check_name(self, host: str) -> None:
        if not HOST_NAME.fullmatch(host) or len(host) > 253:
            raise InvalidUrl(f"{host[:100]!r} is no host name")
        # 127.1, 0x7f000001, 2130706433, 0177.0.0.1: resolvers read them as addresses, each in its own way.
        if _LAST_LABEL_IS_A_NUMBER.fullmatch(host):
            raise InvalidUrl(f"{host} is an unusual spelling of an address: write it as four decimal numbers")
        local = host == "localhost" or host.endswith(".localhost")
        if local and not (self._allow_private or host in self._hosts):
            raise _blocked(host)

    def _check_address(self, host: str, address: Address) -> None:
        allowed = is_public(address) or self._allow_private or self._is_listed(host, address)
        if not (is_host(address) and allowed):
            raise _blocked(host)

    def _is_listed(self, host: str, address: Address) -> bool:
        return host in self._hosts or any(plain(address) in network for network in self._networks)

    async def _look_up(self, host: str) -> list[str]:
        def look_up() -> list[str]:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            return [str(address[0]) for *_, address in found]

        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)


def host_of(url: httpx.URL) -> str:
    """In ASCII, as it is looked up; a trailing dot names the same host."""
    try:
        str(url.host)  # only here httpx reads an international name, and finds that it is none
        return url.raw_host.decode("ascii").lower().strip("[]").rstrip(".")
    except UnicodeError as err:
        raise InvalidUrl(f"{_shown(url)} has a host name that no host can have") from err


def _blocked(host: str) -> BlockedAddress:
    # Which address it is stays unsaid: the answer must not tell what the names of a private network stand for.
    return BlockedAddress(f"{host} is not on the public internet: only public hosts are asked")


def _shown(url: httpx.URL) -> str:
    return repr(str(url)[:100])
