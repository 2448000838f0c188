"""Who may send requests at all, how large they may be, and what probes see."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send
    from tests.integration.mcp.conftest import Person

    from aperag_testing.stack import Stack

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_collections", "arguments": {}}}
ACCEPT = {"Accept": "application/json, text/event-stream"}
MISDIRECTED, FORBIDDEN, OK = 421, 403, 200


def addresses(stack: Stack) -> list[str]:
    return [str(stack.state()["mcp_url"]), f"{stack.url}/mcp/"]


async def post(url: str, *, key: str = "", body: Any = None, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        return await http.post(url, json=body or CALL, headers={**ACCEPT, **authorization, **headers})


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", "169.254.169.254"])
async def test_a_name_that_was_rebound_to_this_machine_is_refused(stack: Stack, alice: Person, host: str) -> None:
    for url in addresses(stack):
        assert (await post(url, key=alice.key, Host=host)).status_code == MISDIRECTED


@pytest.mark.parametrize("origin", ["https://evil.example", "http://evil.example:8001", "null"])
async def test_a_page_of_another_origin_is_refused(stack: Stack, alice: Person, origin: str) -> None:
    for url in addresses(stack):
        assert (await post(url, key=alice.key, Origin=origin)).status_code == FORBIDDEN


async def test_this_machines_own_names_are_let_in(stack: Stack, alice: Person) -> None:
    for url in addresses(stack):
        port = httpx.URL(url).port
        for host in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
            answer = await post(url, key=alice.key, Host=host, Origin=f"http://localhost:{port}")
            assert answer.status_code == OK, (host, answer.text)


async def test_names_and_origins_of_the_settings_are_let_in(alice: Person, replica: Callable[..., Any]) -> None:
    allowed = {"mcp_allowed_hosts": ["rag.example.org"], "mcp_allowed_origins": ["https://chat.example.org"]}
    async with replica(**allowed) as other:
        url = f"{other.url}/mcp/"
        let_in = await post(url, key=alice.key, Host="rag.example.org", Origin="https://chat.example.org")
        wrong_host = await post(url, key=alice.key, Host="other.example.org")
        wrong_origin = await post(url, key=alice.key, Host="rag.example.org", Origin="https://other.example.org")
    assert (let_in.status_code, wrong_host.status_code, wrong_origin.status_code) == (OK, MISDIRECTED, FORBIDDEN)


async def test_the_public_address_is_let_in_and_its_neighbours_are_not(
    alice: Person, replica: Callable[..., Any]
) -> None:
    async with replica(public_url="https://rag.example.org/console") as other:
        url = f"{other.url}/mcp/"
        let_in = await post(url, key=alice.key, Host="rag.example.org", Origin="https://rag.example.org")
        wrong_host = await post(url, key=alice.key, Host="evil.rag.example.org")
        wrong_origin = await post(url, key=alice.key, Host="rag.example.org", Origin="https://evil.example.org")
    assert (let_in.status_code, wrong_host.status_code, wrong_origin.status_code) == (OK, MISDIRECTED, FORBIDDEN)


async def test_without_a_key_a_call_fails_also_where_the_shell_of_the_stack_had_one(stack: Stack) -> None:
    for url in addresses(stack):
        answer = await post(url)
        assert "No API key was sent" in answer.text


@pytest.mark.parametrize("key", ["sk-00000000000000000000000000000000", "nonsense"])
async def test_a_key_that_is_not_known_is_told_so(stack: Stack, key: str) -> None:
    answer = await post(addresses(stack)[0], key=key)
    assert "The API key is not accepted. Send a valid one" in answer.text
    assert key not in answer.text


async def test_no_key_is_in_any_log(
    stack: Stack, alice: Person, replica: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Also where everything is logged that the libraries have to say."""
    caplog.set_level(logging.DEBUG)
    wrong = f"sk-{uuid.uuid4().hex}"
    async with replica() as other:
        for url in (f"{other.url}/mcp/", *addresses(stack)):
            for key in (alice.key, wrong):
                await post(url, key=key)
    assert {"mcp", "fastmcp"} & {record.name.partition(".")[0] for record in caplog.records}
    for logged in (caplog.text, stack.log("mcp"), stack.log("api")):
        assert alice.key not in logged
        assert wrong not in logged


async def test_a_cookie_is_no_credential(stack: Stack) -> None:
    assert "No API key was sent" in (await post(addresses(stack)[1], Cookie="session=x")).text


async def test_a_body_that_is_too_large_is_refused(stack: Stack, alice: Person) -> None:
    body = {**CALL, "params": {"name": "add_document", "arguments": {"collection_id": "c", "text": "x" * 5_000_000}}}
    for url in addresses(stack):
        assert (await post(url, key=alice.key, body=body)).status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jsonrpc": "1.0"}', b"\xff\xfe", b"null"])
async def test_what_is_no_message_is_an_error_of_the_client(stack: Stack, alice: Person, body: bytes) -> None:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        for url in addresses(stack):
            headers = {**ACCEPT, "Authorization": f"Bearer {alice.key}", "Content-Type": "application/json"}
            answer = await http.post(url, content=body, headers=headers)
            assert 400 <= answer.status_code < 500, (url, answer.status_code, answer.text)


async def test_probes_and_metrics_answer_under_any_name(stack: Stack, alice: Person) -> None:
    base = addresses(stack)[0].removesuffix("/mcp/")
    await post(addresses(stack)[0], key=alice.key)
    async with httpx.AsyncClient(base_url=base, headers={"Host": "mcp:8001"}, timeout=30, trust_env=False) as http:
        ready = (await http.get("/readyz")).json()
        assert (await http.get("/livez")).status_code == OK
        metrics = (await http.get("/metrics")).text
    assert ready["status"] == "ok"
    assert set(ready["checks"]) == {"gateway"}
    assert 'aperag_mcp_calls_total{method="tools/call",name="list_collections",outcome="ok"}' in metrics


async def test_names_that_clients_make_up_are_no_labels(alice: Person, replica: Callable[..., Any]) -> None:
    async with replica() as other:
        body = {**CALL, "params": {"name": "made_up", "arguments": {}}}
        await post(f"{other.url}/mcp/", key=alice.key, body=body)
        rendered = other.metrics.render().decode()
        names = {span.name for span in other.spans()}
    assert "made_up" not in rendered
    assert 'aperag_mcp_calls_total{method="tools/call",name="",outcome="error"} 1.0' in rendered
    assert "tools/call" in names


async def test_a_gateway_that_is_away_makes_it_unready_and_its_calls_fail_clearly(replica: Callable[..., Any]) -> None:
    async with replica(api_url="http://127.0.0.1:1") as lonely:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            ready = await http.get(f"{lonely.url}/readyz")
        answer = await post(f"{lonely.url}/mcp/", key="sk-x")
    assert ready.status_code == 503
    assert ready.json()["checks"]["gateway"]["detail"] == "no answer"
    assert "The gateway does not answer. Try again later; if it stays so, it is not running" in answer.text


async def test_the_gateway_is_ready_whatever_becomes_of_the_mcp_service(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.url, timeout=30, trust_env=False) as http:
        checks = (await http.get("/readyz")).json()["checks"]
    assert "mcp" not in checks


async def test_a_call_whose_client_goes_away_is_not_gone_on_with(replica: Callable[..., Any]) -> None:
    """Neither here nor in the gateway, which here is one that never answers."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def never(_: Request) -> Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Response()

    slow = HttpServer(HttpSettings(port=0), _cancelled_with_its_client(never))
    await slow.start()
    body = {**CALL, "params": {**CALL["params"], "name": "search_collection"}}
    body["params"] |= {"arguments": {"collection_id": "col1", "query": "x"}, "_meta": {"progressToken": "t"}}
    async with replica(api_url=f"http://127.0.0.1:{slow.port}") as other:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            headers = {**ACCEPT, "Authorization": "Bearer sk-1"}
            async with http.stream("POST", f"{other.url}/mcp/", json=body, headers=headers):
                await asyncio.wait_for(asked.wait(), 30)
        await asyncio.wait_for(ended.wait(), 30)

        async def told() -> bool:
            return any(span.name == "tools/call search_collection" for span in other.spans())

        await until(told)
    await slow.stop()


def _cancelled_with_its_client(endpoint: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    """An application whose work ends when its client has gone."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await receive()
        working = asyncio.ensure_future(endpoint(Request(scope)))
        leaving = asyncio.ensure_future(receive())
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)

    return app
