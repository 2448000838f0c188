"""What stands between browsers and a service: the proxies that may speak for a client, and the address people open."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from ipaddress import IPv4Network

    from starlette.requests import HTTPConnection

Address: TypeAlias = IPv4Address | IPv6Address

ONE_PLACE = 64
"""Whoever has an IPv6 address has all of them that begin with the same so many bits."""

ELSEWHERE = (
    "Another site's page sent this request: do it on a page of this one. Where people open this one through a reverse"
    " proxy, its administrator sets APERAG_PUBLIC_URL to the address that they open"
)

_OWN = frozenset({"same-origin", "none"})
"""Of ``Sec-Fetch-Site``; ``none``: the person typed the address or opened a bookmark."""
_PRIVATE = (".localhost", ".internal", ".svc", ".cluster.local")
"""Nobody can register such a name."""
_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Front:
    """Headers of proxies are believed only from peers in ``trusted``: anybody else could write them.

    ``origin`` is that of the address people open (``APERAG_PUBLIC_URL``), whatever the proxies say.
    """

    trusted: tuple[IPv4Network | IPv6Network, ...] = ()
    origin: str | None = None

    @classmethod
    def of(cls, trusted: Iterable[str], public_url: str | None = None) -> Front:
        networks = tuple(ip_network(it, strict=False) for it in trusted)
        return cls(networks, None if public_url is None else origin_of(public_url))

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
        """Whether browsers reach the service over TLS, so that they may be told to use nothing else."""
        if self.origin is not None and self.origin.startswith("https:"):
            return True
        forwarded = connection.headers.get("x-forwarded-proto")
        if forwarded is not None and self._from_proxy(connection):
            return forwarded.strip().lower() == "https"
        return bool(connection.scope.get("scheme") == "https")

    def host(self, connection: HTTPConnection) -> str:
        """What the client addressed. Of several values the last counts: the trusted proxy itself wrote it."""
        named = connection.headers.getlist("x-forwarded-host") if self._from_proxy(connection) else []
        given = ",".join(named).rpartition(",")[2] or connection.headers.get("host", "")
        return given.strip().lower()

    def knows(self, connection: HTTPConnection, names: Collection[str] = ()) -> bool:
        """Whether the host that the client addressed can be ours: ours by settings, in ``names``, or nobody's in the DNS.

        Any other name may belong to a page that had it pointed at this machine (DNS rebinding).
        """
        host = urlsplit(f"//{connection.headers.get('host', '')}").hostname or ""
        if not host or "." not in host or host.endswith(_PRIVATE) or _address(host) is not None:
            return True
        own = () if self.origin is None else (urlsplit(self.origin).hostname,)
        return host in {*own, *names}

    def address(self, connection: HTTPConnection) -> str:
        """Where people open the service, without a path: for what they are sent."""
        if self.origin is not None:
            return self.origin
        return f"{'https' if self.secure(connection) else 'http'}://{self.host(connection)}"

    def is_own_page(self, connection: HTTPConnection, allowed: Collection[str] = ()) -> bool:
        """Whether a page of this service, or of an origin in ``allowed``, sent the request, or no browser did."""
        own = {*allowed} if self.origin is None else {*allowed, self.origin}
        return same_origin(connection.headers, self.host(connection), own)

    def _from_proxy(self, connection: HTTPConnection) -> bool:
        peer = self._peer(connection)
        return peer is not None and self._trusts(peer)

    def _peer(self, connection: HTTPConnection) -> Address | None:
        return None if connection.client is None else _address(connection.client.host)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def same_origin(headers: Mapping[str, str], host: str, allowed: Collection[str]) -> bool:
    """``headers`` have lower-case names, ``host`` is in lower case; ``allowed`` are further origins that may ask.

    A browser says where an unsafe request comes from. What says nothing is no browser, and no site can make it send.
    """
    origin = headers.get("origin")
    if origin is not None and origin.strip().lower() in allowed:
        return True
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site.strip().lower() in _OWN
    return origin is None or host in _hosts_of(origin)


def origin_of(address: str) -> str:
    """As browsers spell it: in lower case, without the scheme's own port. Raises ``ValueError`` for what has none."""
    parts = urlsplit(address.strip())
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise ValueError(f"{address!r} is no address of a site: write it as in https://rag.example.com")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port is None or str(parts.port) == _PORTS[parts.scheme] else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def place(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the IPv6 network that one client is given."""
    parsed = _address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, ONE_PLACE), strict=False))
    return address


def _hosts_of(origin: str) -> Collection[str]:
    """With and without the scheme's own port. ``null`` stands for a page that hides where it comes from: nobody's host."""
    try:
        parts = urlsplit(origin.strip())
    except ValueError:
        return ()
    host = parts.netloc.lower()
    return (host, f"{host}:{_PORTS[parts.scheme]}") if parts.scheme in _PORTS and host else ()


def _address(text: str) -> Address | None:
    try:
        parsed = ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
