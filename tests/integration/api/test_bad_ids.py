"""Every route with every bad id, wrong keys, wrong methods and paths: read from the OpenAPI document."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from tests.integration.api.access_table import ROUTES

from aperag_testing.refusals import DETAIL, PROBLEM, Attack, misshapen, unrefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

Person = Any
Victim = Any

V1 = "/api/v1"
ID = re.compile(r"{(\w+)}")

FORM = {"files": [("files", ("new.txt", b"new"))]}
TITLE = {"json": {"title": "mine"}}
FLOW = {
    "name": "tea",
    "nodes": [{"id": "start", "type": "start"}, {"id": "llm", "type": "llm"}],
    "edges": [{"source": "start", "target": "llm"}],
}
VALID: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/apikeys"): {"json": {}},
    ("PUT", "/apikeys/{key_id}"): {"json": {}},
    ("POST", "/subscriptions"): {"json": {"name": "warehouse"}},
    ("POST", "/collections"): TITLE,
    ("PUT", "/collections/{collection_id}"): TITLE,
    ("POST", "/collections/{collection_id}/documents"): FORM,
    ("POST", "/collections/{collection_id}/documents/upload"): {"files": {"file": ("new.txt", b"new")}},
    ("POST", "/collections/{collection_id}/documents/confirm"): {"json": {"document_ids": ["doc1"]}},
    ("DELETE", "/collections/{collection_id}/documents"): {"json": ["doc1"]},
    ("POST", "/collections/{collection_id}/documents/{document_id}/rebuild_indexes"): {
        "json": {"index_types": ["VECTOR"]}
    },
    ("GET", "/collections/{collection_id}/documents/{document_id}/object"): {"params": {"path": "original.txt"}},
    ("GET", "/marketplace/collections/{collection_id}/documents/{document_id}/object"): {
        "params": {"path": "original.txt"}
    },
    ("POST", "/ingest/events"): {
        "json": {
            "specversion": "1.0",
            "id": "1",
            "source": "/wiki",
            "type": "aperag.document.delete",
            "subject": "tea.md",
            "collection": "col0123456789abcdef",
        }
    },
    ("GET", "/ingest/events"): {"params": {"source": "/wiki", "id": "1"}},
    ("POST", "/collections/{collection_id}/searches"): {"json": {"query": "tea"}},
    ("POST", "/admin/dead-letters/redrive"): {"json": {"all": True}},
    **{
        ("POST", f"{at}/jobs/{doing}"): {"json": {"all": True}}
        for at in ("", "/admin")
        for doing in ("retry", "cancel")
    },
    ("POST", "/admin/dead-letters/purge"): {"json": {"all": True}},
    ("PUT", "/quotas/{user_id}"): {"json": {"max_bot_count": 1}},
    ("PUT", "/system/default-quotas"): {"json": {"quotas": {"max_bot_count": 1}}},
    ("PUT", "/settings"): {"json": {"use_mineru": True}},
    ("POST", "/settings/test_mineru_token"): {"json": {}},
    ("POST", "/collections/test-mineru-token"): {"json": {"token": "t"}},
    ("PUT", "/prompts/user"): {"json": {"prompts": {"index_summary": "Sum up {{ content }} in {{ language }}."}}},
    ("POST", "/prompts/user/reset"): {"json": {}},
    ("PUT", "/prompts/system"): {"json": {"prompts": {"index_summary": "x"}}},
    ("POST", "/prompts/preview"): {"json": {"template": "x"}},
    ("POST", "/prompts/validate"): {"json": {"type": "index_summary", "template": "x"}},
    ("POST", "/web/search"): {"json": {"query": "tea"}},
    ("POST", "/login"): {"json": {"username": "nobody", "password": "is wrong"}},
    ("POST", "/register"): {"json": {"username": "somebody", "password": "correct horse"}},
    ("POST", "/change-password"): {
        "json": {"username": "nobody", "old_password": "o", "new_password": "correct horse"}
    },
    ("POST", "/invite"): {"json": {"email": "somebody@example.org", "role": "rw"}},
    ("POST", "/web/read"): {"json": {"url_list": ["http://localhost/"]}},
    ("POST", "/bots"): TITLE,
    ("PUT", "/bots/{bot_id}"): TITLE,
    ("POST", "/bots/{bot_id}/chats"): TITLE,
    ("PUT", "/bots/{bot_id}/chats/{chat_id}"): TITLE,
    ("POST", "/bots/{bot_id}/chats/{chat_id}/turns"): {"json": {"query": "tea?"}},
    ("PUT", "/bots/{bot_id}/flow"): {"json": FLOW},
    ("POST", "/bots/{bot_id}/flow/debug"): {"json": {"query": "tea?"}},
    ("POST", "/bots/{bot_id}/chats/{chat_id}/messages/{message_id}"): {"json": {"type": "good"}},
    ("POST", "/bots/{bot_id}/chats/{chat_id}/title"): {"json": {}},
    ("POST", "/chats/{chat_id}/documents"): {"files": {"file": ("new.txt", b"new")}},
    ("POST", "/chats/{chat_id}/search"): {"json": {"query": "tea"}},
    ("POST", "/chat/completions/frontend"): {"content": "tea?"},
    ("POST", "/llm_providers"): {"json": {"label": "Tea", "base_url": "https://models.example.org/v1"}},
    ("PUT", "/llm_providers/{provider_name}"): {"json": {"label": "Tea"}},
    ("POST", "/llm_providers/{provider_name}/models"): {"json": {"api": "completion", "model": "another"}},
    ("PUT", "/llm_providers/{provider_name}/models/{api}/{model}"): {"json": {"tags": ["tea"]}},
    ("POST", "/available_models"): {"json": {}},
    ("PUT", "/default_models"): {"json": {"defaults": []}},
    ("POST", "/embeddings"): {"json": {"provider": "nobody", "model": "m", "input": "tea"}},
    ("POST", "/webhooks"): {"json": {"url": "https://93.184.215.14/hook"}},
    ("PUT", "/webhooks/{webhook_id}"): {"json": {"url": "https://93.184.215.14/hook"}},
    ("POST", "/webhooks/{webhook_id}/replay"): {"json": {"since": "2026-01-01T00:00:00Z"}},
    ("POST", "/rerank"): {"json": {"provider": "local", "model": "m", "query": "tea", "documents": ["tea"]}},
}
"""What else a valid request of a route holds."""

NULL_WHERE_NOTHING_IS = {
    ("DELETE", "/apikeys/{key_id}"),
    ("DELETE", "/collections/{collection_id}/searches/{search_id}"),
    ("DELETE", "/llm_providers/{provider_name}"),
    ("DELETE", "/llm_providers/{provider_name}/models/{api}/{model}"),
}
"""Deletes that answer 200 and null where there is nothing to delete (contract 1.2, 1.5, 1.10)."""

ENDED_BEFORE = {
    ("DELETE", "/marketplace/collections/{collection_id}/subscribe"),
    ("DELETE", "/bots/{bot_id}"),
    ("DELETE", "/bots/{bot_id}/chats/{chat_id}"),
}
"""Deletes that answer 200 or 204 however often they are asked for, also of what never was (contract 1.7, 1.8, 1.14)."""

ENUMERATED = {"api"}
"""Parts of a path that the schema itself judges: 422."""


def for_admins(method: str, path: str) -> bool:
    return ROUTES[f"{method} {path}"].access == "ADMIN"


BAD_IDS = {
    "unknown": "col0123456789abcdef",
    "short": "x",
    "a path": "..%2F..%2Fetc%2Fpasswd",
    "a slash": "a%2Fb",
    "dots": "%2E%2E",
    "NUL": "a%00b",
    "line breaks": "a%0D%0Ab",
    "no UTF-8": "%FF%FE",
    "half a surrogate pair": "%ED%A0%80",
    "Korean": "%ED%95%9C",
    "SQL": "'%20OR%201=1--",
    "a wildcard": "%25",
    "very long": "c" * 3000,
    "no trace": "0" * 32,
}


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of all routes below /api/v1; what a route's body is must be said in VALID."""
    found: list[tuple[str, str]] = []
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            route = (method.upper(), path.removeprefix(V1))
            if not path.startswith(V1):
                continue
            if "requestBody" in operation or any(p["required"] and p["in"] == "query" for p in parameters(operation)):
                assert route in VALID, f"say in VALID what a valid request to {route} holds"
            found.append(route)
    return found


def parameters(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return list(operation.get("parameters", []))


def own_ids(victim: Victim) -> dict[str, str]:
    return {
        "collection_id": victim.collection,
        "document_id": victim.document,
        "task_id": victim.task,
        "search_id": victim.search,
        "key_id": victim.key,
        "trace_id": "f" * 32,
        "letter_id": "f" * 32,
        "timer": "outbox",
        "provider": "acme",
        "user_id": "user0123456789abcdef",
        "entry_id": "f" * 32,
        "type": "index_summary",
        "bot_id": victim.bot,
        "chat_id": victim.chat,
        "turn_id": victim.turn,
        "message_id": "m1",
        "chat_document_id": victim.file,
        "model_id": victim.bot,
        "provider_name": victim.provider,
        "api": "completion",
        "webhook_id": victim.webhook,
        "delivery_id": victim.delivery,
        "model": victim.model,
        "subscription_id": victim.subscription,
    }


def refused(answer: httpx.Response, route: tuple[str, str]) -> list[str]:
    """404, or 400 where no id can look like this, in one of the two bodies of the contract."""
    if route in NULL_WHERE_NOTHING_IS and (answer.status_code, answer.text) == (200, "null"):
        return []
    if route in ENDED_BEFORE and answer.status_code in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}:
        return []
    if answer.status_code not in {400, 404}:
        return [f"{route}: {answer.status_code} {answer.text[:200]}"]
    code = answer.json().get("error_code", DETAIL)
    return [f"{route}: {wrong}" for wrong in misshapen(answer, answer.status_code, code)]


@pytest_asyncio.fixture
async def admin(make_person: Callable[..., Awaitable[Person]]) -> Person:
    person = await make_person("admin")
    await person.http.get("/collections")  # the first use of a key is written down
    return person


async def test_no_route_finds_a_bad_id(
    alice: Person, admin: Person, app: FastAPI, victim: Victim, untouched: None
) -> None:
    own, wrong = own_ids(victim), []
    for method, path in routes(app):
        for name in set(ID.findall(path)) - ENUMERATED:
            for what, bad in BAD_IDS.items():
                url = path.format(**{**own, name: bad})
                caller = admin if for_admins(method, path) else alice
                answer = await caller.http.request(method, url, **VALID.get((method, path), {}))
                wrong += [f"{what}: {reason}" for reason in refused(answer, (method, path))]
    assert wrong == []


@pytest_asyncio.fixture
async def mine(mallory: Person) -> str:
    """A collection of the attacker's own."""
    return str(await mallory.collection())


async def test_no_route_finds_what_is_another_owners(
    mallory: Person, app: FastAPI, victim: Victim, mine: str, untouched: None
) -> None:
    answers: dict[tuple[str, str], list[int]] = {}
    wrong = []
    for method, path in routes(app):
        names = ID.findall(path)
        # All ids the victim's, then those below a collection of the attacker's own.
        for ids in [own_ids(victim), {**own_ids(victim), "collection_id": mine}][: len(names)]:
            answer = await mallory.http.request(method, path.format(**ids), **VALID.get((method, path), {}))
            answers.setdefault((method, path), []).append(answer.status_code)
            if for_admins(method, path):
                wrong += [f"{(method, path)}: {reason}" for reason in misshapen(answer, 403, DETAIL)]
            else:
                wrong += refused(answer, (method, path))
    assert wrong == []
    assert len(answers) > 20


def malformed_keys(key: str) -> dict[str, str]:
    return {
        "empty": "",
        "scheme alone": "Bearer",
        "another scheme": f"Token {key}",
        "basic": "Basic dXNlcjpwYXNz",
        "unknown": "Bearer sk-" + "0" * 32,
        "too short": f"Bearer {key[:-1]}",
        "too long": f"Bearer {key}0",
        "upper case": f"Bearer {key.upper()}",
        "two keys": f"Bearer {key} {key}",
        "not ASCII": "Bearer sk-ÿ",
        "very long": "Bearer " + "s" * 10_000,
        "SQL": "Bearer ' OR 1=1--",
    }


@pytest.mark.usefixtures("untouched")
async def test_what_is_no_key_opens_nothing(alice: Person) -> None:
    del alice.http.headers["authorization"]
    attacks = [
        Attack(what, "GET", "/collections", 401, request={"headers": {"authorization": value.encode("latin-1")}})
        for what, value in malformed_keys(alice.key).items()
    ]
    attacks.append(Attack("none", "GET", "/collections", 401))
    assert await unrefused(alice.http, attacks) == []
    problem = await alice.http.get("/collections", headers={"accept": PROBLEM})
    assert (problem.json()["error_code"], problem.headers["www-authenticate"]) == ("UNAUTHORIZED", "Bearer")


async def test_a_user_who_is_no_longer_active_is_nobody(mallory: Person, engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE users SET is_active = false WHERE id = :id"), {"id": mallory.id})
    assert misshapen(await mallory.http.get("/collections"), 401, DETAIL) == []


@pytest.mark.usefixtures("untouched")
async def test_no_route_takes_a_method_that_it_does_not_have(alice: Person, app: FastAPI, victim: Victim) -> None:
    known = routes(app)
    attacks = []
    for path in sorted({path for _, path in known}):
        url = path.format(**own_ids(victim))
        # The name of one route can be an id of another: /documents/upload is a document called "upload" too.
        has = {method for method, other in known if re.fullmatch(ID.sub("[^/]+", other), url)}
        without = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - has
        attacks += [Attack(method, method, url, HTTPStatus.METHOD_NOT_ALLOWED) for method in sorted(without)]
    assert len(attacks) > 80
    assert await unrefused(alice.http, attacks) == []


@pytest.mark.usefixtures("untouched")
async def test_what_is_no_path_is_not_found(alice: Person) -> None:
    paths = ("/nope", "/collections/a/b", "/../../etc/passwd", "/%00", "/%FF", "/collections/a%2Fb", "/" + "a" * 5000)
    assert await unrefused(alice.http, [Attack("path", "GET", path, 404) for path in paths]) == []
