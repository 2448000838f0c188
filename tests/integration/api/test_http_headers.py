"""What every answer says about itself, and what a request's own name is good for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import ValidationError

from aperag_api.edge.settings import GatewayHttp
from aperag_api.kernel.http.settings import CorsSettings
from aperag_api.kernel.http.uses import OTHERS, USES
from aperag_common.asyncapi.document import document

if TYPE_CHECKING:
    from fastapi import FastAPI

    from aperag_api.edge.gateway import Gateway

Person = Any
Victim = Any
PROBLEM = {"Accept": "application/problem+json"}
CONSOLE = "https://console.example.com"

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def over(app: FastAPI, scheme: str, client: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(client, 1))
    return httpx.AsyncClient(transport=transport, base_url=f"{scheme}://gateway")


async def fail(*_: object, **__: object) -> None:
    message = "unforeseen"
    raise RuntimeError(message)


async def test_every_answer_carries_the_headers_failures_of_ours_included(
    app: FastAPI, alice: Person, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(gateway.knowledge.collections), "get", fail)
    async with over(app, "http") as anyone:
        answers = [
            await alice.http.get("/collections"),
            await alice.http.get("/collections/colunknown"),
            await alice.http.post("/collections", json={}),
            await alice.http.delete("/collections"),
            await alice.http.get("/nowhere"),
            await anyone.get("/api/v1/collections"),
            await anyone.get("/livez"),
            await anyone.get("/openapi.json"),
            await anyone.get("/?" + "q" * 9000),
        ]
    assert [answer.status_code for answer in answers] == [200, 500, 422, 405, 404, 401, 200, 200, 414]
    for answer in answers:
        said = {name: answer.headers.get(name) for name in SECURITY}
        assert said == SECURITY, answer.url
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) == 32
        assert "strict-transport-security" not in answer.headers


async def test_the_reference_names_every_route_and_loads_nothing(app: FastAPI) -> None:
    async with over(app, "http") as client:
        answer = await client.get("/docs")
        described = (await client.get("/openapi.json")).json()["paths"]
        assert [(await client.get(path)).status_code for path in ("/redoc", "/docs/oauth2-redirect")] == [404, 404]
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script" not in answer.headers["content-security-policy"]
    assert [word for word in ("<script", "src=", '="http', "url(") if word in answer.text] == []
    missing = [path for path in described if f"{path}</code>" not in answer.text]
    assert (missing, len(described) > 50) == ([], True)


async def test_the_reference_is_in_chapters_that_know_every_tag(app: FastAPI) -> None:
    async with over(app, "http") as client:
        page = (await client.get("/docs")).text
    assert [use for use in USES if f'<h2 id="{use}">' not in page] == []
    assert f'id="{OTHERS}"' not in page, "name the new tag in a chapter"


async def test_the_address_of_the_gateway_says_where_things_are(app: FastAPI) -> None:
    app.state.console_url = "http://127.0.0.1:3000"
    async with over(app, "http") as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for link in ('href="http://127.0.0.1:3000"', 'href="docs"', 'href="openapi.json"', "<code>/mcp/</code>"):
        assert link in answer.text


async def test_the_page_of_messages_names_every_channel_and_loads_nothing(app: FastAPI) -> None:
    async with over(app, "http") as client:
        answer = await client.get("/docs/messages")
        described = (await client.get("/asyncapi.json")).json()
        assert 'href="docs/messages"' in (await client.get("/docs")).text
    assert described == document()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script" not in answer.headers["content-security-policy"]
    assert [word for word in ("<script", "src=", 'href="http') if word in answer.text] == []
    names = [name for name in described["channels"] if f'id="{name}"' in answer.text]
    assert names == list(described["channels"])
    places = [answer.text.index(f'id="{name}"') for name in names]
    assert places == sorted(places)
    assert "<code>error_code</code>" in answer.text
    assert "``" not in answer.text


async def test_browsers_are_kept_to_tls_where_a_request_came_over_it(app: FastAPI) -> None:
    async with over(app, "https") as client:
        assert "max-age=" in (await client.get("/livez")).headers["strict-transport-security"]


@pytest.mark.parametrize("settings", [{"http": GatewayHttp(trusted_proxies=())}], indirect=True)
async def test_a_proxy_that_nobody_trusts_says_nothing_about_tls(app: FastAPI) -> None:
    async with over(app, "http") as client:
        answer = await client.get("/livez", headers={"X-Forwarded-Proto": "https"})
    assert "strict-transport-security" not in answer.headers


async def test_what_was_uploaded_is_downloaded_and_never_run(alice: Person, victim: Victim) -> None:
    answer = await alice.http.get(f"{victim.documents}/{victim.document}/download")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("given", ["a", "0f-B.z_9", "x" * 64])
async def test_a_sane_id_names_the_request(alice: Person, given: str) -> None:
    answer = await alice.http.get("/collections/colunknown", headers={"X-Request-ID": given, **PROBLEM})
    assert (answer.headers["x-request-id"], answer.json()["request_id"]) == (given, given)


@pytest.mark.parametrize("given", ["", "x" * 65, "two words", "a\tb", "<script>", "차", "a;b", '"'])
async def test_any_other_id_is_replaced(alice: Person, given: str) -> None:
    answer = await alice.http.get("/collections", headers={"X-Request-ID": given.encode()})
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32


async def test_log_lines_of_a_request_carry_its_id(
    alice: Person, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    import structlog

    monkeypatch.setattr(type(gateway.knowledge.collections), "get", fail)
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await alice.http.get("/collections/col1", headers={"X-Request-ID": "mine"})
        await alice.http.get("/collections", headers={"X-Request-ID": "other"})
    assert [line["request_id"] for line in lines if line["event"] == "request.failed"] == ["mine"]
    assert "request_id" not in structlog.contextvars.get_contextvars()


async def test_no_page_of_another_origin_may_read_anything(alice: Person) -> None:
    answer = await alice.http.get("/collections", headers={"Origin": CONSOLE})
    asked = await alice.http.options(
        "/collections", headers={"Origin": CONSOLE, "Access-Control-Request-Method": "POST"}
    )
    assert [name for name in (*answer.headers, *asked.headers) if name.startswith("access-control-")] == []
    assert asked.status_code == 405


named = pytest.mark.parametrize("settings", [{"cors": {"origins": (CONSOLE,)}}], indirect=True)


@named
async def test_a_named_origin_may(alice: Person, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await alice.http.options(
        "/collections", headers={"Origin": CONSOLE, "Access-Control-Request-Method": "POST"}
    )
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, CONSOLE)
    assert "access-control-allow-credentials" not in asked.headers
    monkeypatch.setattr(type(gateway.knowledge.collections), "get", fail)
    for path in ("/collections", "/collections/colunknown"):
        answer = await alice.http.get(path, headers={"Origin": CONSOLE})
        assert answer.headers["access-control-allow-origin"] == CONSOLE, path
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


@named
async def test_no_other_one_may(alice: Person) -> None:
    answer = await alice.http.get("/collections", headers={"Origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "values",
    [
        {"origins": ("*",), "credentials": True},
        {"origins": ("console.example.com",)},
        {"origins": ("https://console.example.com/",)},
        {"origins": ("https://console.example.com/path",)},
        {"origins": ("ftp://console.example.com",)},
    ],
)
def test_settings_that_open_more_than_they_say_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CorsSettings(**values)
