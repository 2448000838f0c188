"""Which IP addresses are on the public internet; all others belong to somebody's own network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# Spelled out after the registries of special-purpose addresses (RFC 6890): what the standard library calls global
# differs between patch releases of Python.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; metadata service of one cloud
        "127.0.0.0/8",
        "168.63.129.16/32",  # a public address that inside one cloud is its host
        "169.254.0.0/16",  # link-local; metadata services of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise, and no network needs it any more
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    address = plain(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_V6)


def is_host(address: Address) -> bool:
    """Whether a connection to it can mean one host: not multicast, broadcast or "any address"."""
    address = plain(address)
    return not (address.is_multicast or address.is_unspecified or address == IPv4Address("255.255.255.255"))


def plain(address: Address) -> Address:
    """The IPv4 address that a connection to ``address`` ends at, where it is one in IPv6 clothing."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


def network_of(text: str) -> Network | None:
    """``text`` as a network or a single address, if it is one."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
