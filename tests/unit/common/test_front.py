"""Whom a request comes from and what it addressed, where proxies stand in between, and whose page sent it."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from aperag_common.http.front import Front, origin_of, place, same_origin

TRUSTED = Front.of(("10.0.0.0/8", "2001:db8::1"))


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
        Front.of(("proxy.example.org",))


@pytest.mark.parametrize(
    ("peer", "forwarded", "host"),
    [
        ("203.0.113.9", ["rag.example.org"], "inner:8000"),
        (None, ["rag.example.org"], "inner:8000"),
        ("10.0.0.1", [], "inner:8000"),
        ("10.0.0.1", [""], "inner:8000"),
        ("10.0.0.1", ["RAG.example.org:3000 "], "rag.example.org:3000"),
        ("10.0.0.1", ["evil.example.org, rag.example.org"], "rag.example.org"),
        ("10.0.0.1", ["evil.example.org", "rag.example.org"], "rag.example.org"),
    ],
)
def test_only_a_trusted_proxy_says_which_host_the_client_addressed(
    peer: str | None, forwarded: list[str], host: str
) -> None:
    headers = [("host", "inner:8000"), *(("x-forwarded-host", value) for value in forwarded)]
    assert TRUSTED.host(connection(peer, *headers)) == host


@pytest.mark.parametrize(
    ("peer", "origin", "own"),
    [
        ("10.0.0.1", "http://rag.example.org", True),
        ("10.0.0.1", "http://inner:8000", False),  # the proxy addressed that, and no browser
        ("10.0.0.1", "https://evil.example.org", False),
        ("203.0.113.9", "http://rag.example.org", False),
        ("203.0.113.9", "http://inner:8000", True),
    ],
)
def test_a_page_is_ours_by_the_host_that_its_browser_addressed(peer: str, origin: str, *, own: bool) -> None:
    headers = [("host", "inner:8000"), ("x-forwarded-host", "rag.example.org"), ("origin", origin)]
    assert TRUSTED.is_own_page(connection(peer, *headers)) is own


PUBLIC = Front.of((), "https://RAG.example.org:443/console/")


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("https://rag.example.org", True),
        ("http://rag.example.org", False),  # whoever sits on the network can make that page
        ("https://rag.example.org:8443", False),
        ("https://rag.example.org.evil.org", False),
        ("https://inner:8000", True),
    ],
)
def test_pages_of_the_public_address_are_ours_whatever_host_a_proxy_names(origin: str, *, own: bool) -> None:
    headers = [("host", "inner:8000"), ("origin", origin)]
    assert PUBLIC.is_own_page(connection("203.0.113.9", *headers)) is own


def test_a_public_address_over_tls_makes_every_cookie_secure_and_stands_in_what_people_are_sent() -> None:
    plain = connection("203.0.113.9", ("host", "inner:8000"))
    assert (PUBLIC.secure(plain), PUBLIC.address(plain)) == (True, "https://rag.example.org")
    assert (TRUSTED.secure(plain), TRUSTED.address(plain)) == (False, "http://inner:8000")
    told = (("host", "inner:8000"), ("x-forwarded-host", "rag.example.org"), ("x-forwarded-proto", "https"))
    assert TRUSTED.address(connection("10.0.0.1", *told)) == "https://rag.example.org"


@pytest.mark.parametrize("address", ["rag.example.org", "ftp://rag.example.org", "https://", "https://a:b@rag.org", ""])
def test_an_address_without_an_origin_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no address of a site"):
        origin_of(address)


HOST = "aperag.example.org:8000"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),  # no browser
        ({"origin": "https://aperag.example.org:8000"}, True),
        ({"origin": "http://APERAG.example.org:8000"}, True),
        ({"origin": "https://aperag.example.org"}, False),  # another port
        ({"origin": "https://evil.example.org"}, False),
        ({"origin": "https://aperag.example.org:8000.evil.org"}, False),
        ({"origin": "https://aperag.example.org:8000@evil.org"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "file://"}, False),
        ({"origin": "http://["}, False),
        ({"origin": "javascript://aperag.example.org:8000"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "nonsense"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "https://aperag.example.org:8000"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "http://inner:80"}, True),  # a proxy gave another host
        ({"sec-fetch-site": "same-site", "origin": "https://console.example.org"}, True),
        ({"origin": "https://console.example.org"}, True),
        ({"origin": "https://console.example.org:444"}, False),
        ({"origin": "http://console.example.org"}, False),  # whoever sits on the network can make that page
        ({"sec-fetch-site": "same-site", "origin": "http://console.example.org"}, False),
    ],
)
def test_only_our_own_pages_and_those_that_settings_name_may_ask(headers: dict[str, str], *, allowed: bool) -> None:
    assert same_origin(headers, HOST, {"https://console.example.org"}) is allowed


def test_a_request_without_a_host_comes_from_no_page() -> None:
    assert same_origin({"origin": "http://a"}, "", ()) is False
    assert same_origin({}, "", ()) is True
