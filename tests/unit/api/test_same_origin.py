"""Which requests a person's browser may send with their cookie: by what it says of the page they come from."""

from __future__ import annotations

import pytest

from aperag_api.kernel.origins import same_origin

HOST = {"host": "aperag.example.org:8000"}


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
    assert same_origin(HOST | headers, {"https://console.example.org"}) is allowed


def test_a_request_without_a_host_comes_from_no_page() -> None:
    assert same_origin({"origin": "http://a"}, ()) is False
    assert same_origin({}, ()) is True
