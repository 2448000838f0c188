"""Which requests the console takes, and where it sends people."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from aperag_console.gateway.credentials import credential_of
from aperag_console.gateway.failures import failure_of
from aperag_console.web.protection import POLICY, same_origin
from aperag_console.web.refusals import local


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://127.0.0.1:3000", "host": "127.0.0.1:3000"}, True),
        ({"origin": "http://127.0.0.1:8000", "host": "127.0.0.1:3000"}, False),
        ({"origin": "null", "host": "127.0.0.1:3000"}, False),
        ({"origin": "http://[", "host": "127.0.0.1:3000"}, False),
        ({"host": "127.0.0.1:3000"}, True),
    ],
)
def test_another_sites_page_is_told_from_ours(headers: dict[str, str], *, ours: bool) -> None:
    assert same_origin(Headers(headers)) is ours


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/collections?page=2", "/collections?page=2"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_sent_to_another_site(target: str, path: str) -> None:
    assert local(target) == path


def test_the_policy_allows_no_inline_script_and_nothing_from_elsewhere() -> None:
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    assert "*" not in POLICY


@pytest.mark.parametrize(
    ("cookies", "headers"),
    [
        ("session=abc", {"Cookie": "session=abc"}),
        ("session=abc; console_key=sk-1", {"Authorization": "Bearer sk-1"}),
        ("other=1", None),
    ],
)
def test_a_person_acts_with_what_their_browser_holds(cookies: str, headers: dict[str, str] | None) -> None:
    found = credential_of(Request({"type": "http", "headers": [(b"cookie", cookies.encode())]}))
    assert (found and found.headers()) == headers
    assert "abc" not in repr(found)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "Name taken", "error_code": "CONFLICT"}', "Name taken"),
        (b'{"detail": "Unauthorized"}', "Unauthorized"),
        (b'{"detail": [{"loc": ["body", "title"], "msg": "too short"}]}', "title: too short"),
        (b'{"detail": {"error_code": "X", "message": "No text"}}', "No text"),
        (b"<html>", "<html>"),
        (b"", "Bad Request"),
    ],
)
def test_a_failure_is_told_in_any_of_the_contracts_shapes(body: bytes, message: str) -> None:
    assert failure_of(400, body, {}).message == message
