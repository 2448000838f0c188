"""Requests larger than any client's need: refused in the contract's form, and nobody else notices."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aperag_api.kernel.http.settings import RequestSettings
from aperag_api.kernel.multipart import MOST_PARTS

if TYPE_CHECKING:
    from fastapi import FastAPI

Person = Any
Victim = Any
PROBLEM = {"Accept": "application/problem+json"}
DEEP = 64


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("accept", ["application/json", "application/problem+json"])
@pytest.mark.parametrize("depth", [DEEP + 1, 400, 900, 990, 1000, 1100, 50_000])
async def test_a_deep_body_is_refused(alice: Person, victim: Victim, depth: int, accept: str) -> None:
    for value in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        body = f'{{"title": "t", "type": "document", "config": {{"x": {value}}}}}'
        headers = {"Content-Type": "application/json", "Accept": accept}
        answer = await alice.http.post("/collections", content=body, headers=headers)
        assert answer.status_code in {400, 422}, answer.text
        assert answer.headers["content-type"].startswith(accept)
        assert len(answer.content) < 16_384


async def test_a_body_of_usual_depth_is_taken(alice: Person) -> None:
    body = {"title": "t", "type": "document", "config": nested(10)}
    assert (await alice.http.post("/collections", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"headers": {f"X-{n}": "1" for n in range(200)}}, 431),
        ({"headers": {"X-Long": "x" * 20_000}}, 431),
        ({"params": {"q": "x" * 9_000}}, 414),
    ],
)
async def test_an_overlong_head_is_refused(alice: Person, request_: dict[str, Any], status: int) -> None:
    usual = await alice.http.get("/collections", **request_)
    assert (usual.status_code, set(usual.json())) == (status, {"detail"})
    problem = await alice.http.get(
        "/collections", **{**request_, "headers": {**request_.get("headers", {}), **PROBLEM}}
    )
    assert (problem.status_code, problem.headers["content-type"]) == (status, PROBLEM["Accept"])
    assert problem.json()["request_id"] == problem.headers["x-request-id"]


@pytest.mark.usefixtures("untouched")
async def test_a_form_of_very_many_parts_is_refused(alice: Person, victim: Victim) -> None:
    parts = [(f"other{n}", (None, "x")) for n in range(MOST_PARTS)]
    answer = await alice.http.post(victim.documents, files=[*parts, ("files", ("a.txt", b"a"))])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nowhere", 404),
        ("GET", "/nowhere", 404),
        ("PATCH", "/api/v1/collections", 405),
        ("POST", "/api/v1/collections", 422),
        ("GET", "/api/v1/documents?page=", 404),
    ],
)
async def test_what_no_route_has_seen_is_a_problem_too(
    app: FastAPI, alice: Person, method: str, path: str, status: int
) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=alice.http.headers) as client:
        answer = await client.request(method, path, headers=PROBLEM)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM["Accept"])
    body = answer.json()
    whole = {"type", "title", "status", "detail", "instance", "error_code", "trace_id", "request_id", "retryable"}
    assert body.keys() >= whole
    assert json.dumps(body["instance"]) == json.dumps(path.partition("?")[0])


HOSTS = {
    "127.0.0.1:8000": 200,
    "[::1]:8000": 200,
    "localhost": 200,
    "api:8000": 200,
    "api.aperag.svc.cluster.local": 200,
    "rag.example.org": 200,
    "second.example.org": 200,
    "evil.example.org": 421,
    "127.0.0.1.evil.example.org": 421,
}


@pytest.mark.parametrize(
    "settings",
    [{"public_url": "https://rag.example.org", "requests": RequestSettings(hosts=("second.example.org",))}],
    indirect=True,
)
async def test_a_host_that_a_stranger_may_have_pointed_here_is_refused(alice: Person) -> None:
    """The attack: DNS rebinding, by which a page of another site becomes one of ours."""
    answers = {host: await alice.http.get("/config", headers={"Host": host}) for host in HOSTS}
    assert {host: answer.status_code for host, answer in answers.items()} == HOSTS
    assert "APERAG_REQUESTS__HOSTS" in answers["evil.example.org"].text
