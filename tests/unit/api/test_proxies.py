"""Whom a request comes from, where proxies stand in between."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from aperag_api.kernel.proxies import Proxies, place

TRUSTED = Proxies.of(("10.0.0.0/8", "2001:db8::1"))


def connection(peer: str | None, *headers: tuple[str, str], scheme: str = "http") -> HTTPConnection:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    client = None if peer is None else (peer, 1234)
    scope = {"type": "http", "scheme": scheme, "path": "/", "server": ("aperag", 80), "client": client, "headers": raw}
    return HTTPConnection(scope)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [" 2001:DB8:0:0::7 "], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("2001:db8::1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        (None, ["203.0.113.9"], ""),
        ("testclient", ["203.0.113.9"], ""),
    ],
)
def test_only_what_trusted_proxies_added_is_believed(peer: str | None, forwarded: list[str], client: str) -> None:
    headers = [("x-forwarded-for", value) for value in forwarded]
    assert TRUSTED.client(connection(peer, *headers)) == client


@pytest.mark.parametrize(
    ("peer", "scheme", "proto", "secure"),
    [
        ("203.0.113.9", "http", None, False),
        ("203.0.113.9", "https", None, True),
        ("203.0.113.9", "http", "https", False),
        ("203.0.113.9", "https", "http", True),
        ("10.0.0.1", "http", "https", True),
        ("10.0.0.1", "http", " HTTPS ", True),
        ("10.0.0.1", "https", "http", False),
        ("10.0.0.1", "http", "https, http", False),
        (None, "http", "https", False),
    ],
)
def test_tls_is_believed_of_trusted_proxies_only(
    peer: str | None, scheme: str, proto: str | None, *, secure: bool
) -> None:
    headers = [] if proto is None else [("x-forwarded-proto", proto)]
    assert TRUSTED.secure(connection(peer, *headers, scheme=scheme)) is secure


@pytest.mark.parametrize(
    ("address", "one"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_one_client_is_an_address_or_the_network_that_it_is_given(address: str, one: str) -> None:
    assert place(address) == one


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        Proxies.of(("proxy.example.org",))
