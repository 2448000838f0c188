"""Which requests the console takes, and where it sends people."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from aperag_console.gateway.credentials import credential_of
from aperag_console.gateway.failures import failure_of
from aperag_console.settings import Settings
from aperag_console.web.protection import POLICY, Protected
from aperag_console.web.refusals import local


async def answered(peer: str, **headers: str) -> int:
    """The status that the console answers a form with; ``peer`` is who connects to it."""
    app = Starlette(
        routes=[Route("/", lambda _: PlainTextResponse("taken"), methods=["POST"])],
        middleware=[Middleware(Protected, front=Settings(_env_file=None).front)],
    )
    transport = httpx.ASGITransport(app, client=(peer, 4321))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3000") as http:
        return (
            await http.post("/", headers={name.replace("_", "-"): value for name, value in headers.items()})
        ).status_code


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("203.0.113.9", {"sec_fetch_site": "same-origin"}, 200),
        ("203.0.113.9", {"sec_fetch_site": "cross-site"}, 403),
        ("203.0.113.9", {"origin": "http://127.0.0.1:3000"}, 200),
        ("203.0.113.9", {"origin": "http://127.0.0.1:8000"}, 403),
        ("203.0.113.9", {}, 200),
        ("127.0.0.1", {"origin": "https://rag.example.org", "x_forwarded_host": "rag.example.org"}, 200),
        ("127.0.0.1", {"origin": "https://evil.example.org", "x_forwarded_host": "rag.example.org"}, 403),
        ("203.0.113.9", {"origin": "https://rag.example.org", "x_forwarded_host": "rag.example.org"}, 403),
    ],
)
async def test_another_sites_page_is_told_from_ours(peer: str, headers: dict[str, str], status: int) -> None:
    assert await answered(peer, **headers) == status


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
