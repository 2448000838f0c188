"""Where a request comes from: its peer, or what a trusted proxy in between says of the client behind it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network

    from starlette.requests import HTTPConnection

Address: TypeAlias = IPv4Address | IPv6Address

ONE_PLACE = 64
"""Whoever has an IPv6 address has all of them that begin with the same so many bits."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """Headers are believed only from peers in ``trusted``: anybody else could write them."""

    trusted: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, trusted: Iterable[str]) -> Proxies:
        return cls(tuple(ip_network(it, strict=False) for it in trusted))

    def client(self, connection: HTTPConnection) -> str:
        """The client's address; empty where the peer has none, as on a Unix socket."""
        address = self._peer(connection)
        if address is None:
            return ""
        # Each proxy adds the peer that it saw on the right: what an untrusted one added ends the chain.
        named = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
        for entry in reversed(named):
            forwarded = _address(entry)
            if forwarded is None or not self._trusts(address):
                break
            address = forwarded
        return str(address)

    def secure(self, connection: HTTPConnection) -> bool:
        """Whether the client's request came over TLS."""
        peer = self._peer(connection)
        if peer is not None and self._trusts(peer) and "x-forwarded-proto" in connection.headers:
            return connection.headers["x-forwarded-proto"].strip().lower() == "https"
        return connection.url.scheme == "https"

    def _peer(self, connection: HTTPConnection) -> Address | None:
        return None if connection.client is None else _address(connection.client.host)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def place(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the IPv6 network that one client is given."""
    parsed = _address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, ONE_PLACE), strict=False))
    return address


def _address(text: str) -> Address | None:
    try:
        parsed = ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
