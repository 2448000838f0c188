"""The audit log: every call that changes something, or tried to, with its real end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_api.identity.audit import repository, strangers
from aperag_api.identity.audit.decide import is_audited, name_of, resource_of
from aperag_api.kernel.http.settings import RateSettings
from aperag_api.knowledge.collections.service import CollectionService
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.fake_agent import FakeAgent


Person = Any
Rows = list[dict[str, Any]]

ROOT = "/api/v1"
SECRET = "planted-3b9d0c71"


@pytest_asyncio.fixture
async def admin(make_person: Callable[..., Awaitable[Person]]) -> Person:
    return await make_person("admin")


@pytest.fixture
def logged_calls(engine: AsyncEngine) -> Callable[[], Awaitable[Rows]]:
    async def read() -> Rows:
        async with engine.connect() as conn:
            rows = await conn.execute(text("SELECT * FROM audit_log ORDER BY created, start_time"))
            return [dict(row._mapping) for row in rows]

    return read


async def told(person: Person, **asked: Any) -> Rows:
    answer = await person.http.get("/audit-logs", params=asked)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_a_change_is_on_record_with_who_what_and_when(alice: Person, logged_calls: Any) -> None:
    headers = {"user-agent": "tests/1", "x-request-id": "req-0123456789"}
    body = {"title": "Tea", "config": {"language": "en-US"}}
    answer = await alice.http.post("/collections", json=body, headers=headers)
    [row] = await logged_calls()
    assert (row["user_id"], row["username"]) == (alice.id, alice.id)
    assert (row["resource_type"], row["resource_id"]) == ("collection", answer.json()["id"])
    assert (row["api_name"], row["http_method"], row["path"]) == ("CreateCollection", "POST", f"{ROOT}/collections")
    assert (row["status_code"], row["error_message"]) == (200, None)
    assert row["request_data"] == {"body": body}
    assert row["response_data"]["id"] == answer.json()["id"]
    assert (row["ip_address"], row["user_agent"]) == ("127.0.0.1", "tests/1")
    assert row["request_id"] == answer.headers["x-request-id"] == "req-0123456789"
    assert row["start_time"] <= row["end_time"]


async def test_reads_and_questions_leave_no_trace(alice: Person, victim: Any, engine: AsyncEngine) -> None:
    async def count() -> int:
        async with engine.connect() as conn:
            return int((await conn.execute(text("SELECT count(*) FROM audit_log"))).scalar_one())

    before = await count()
    path = f"/collections/{victim.collection}"
    await alice.http.get(path)
    await alice.http.head(path)
    await alice.http.post(f"{path}/searches", json={"query": "tea", "fulltext_search": {}})
    await alice.http.post("/prompts/preview", json={"template": "x"})
    assert await count() == before


async def test_a_question_of_openais_clients_is_on_record_as_its_turn(
    alice: Person, engine: AsyncEngine, agent: FakeAgent, logged_calls: Any
) -> None:
    async def begun() -> str:
        async with engine.connect() as conn:
            return str((await conn.execute(text("SELECT id FROM turn"))).scalar() or "")

    url, asked = "http://gateway/v1/chat/completions", {"messages": [{"role": "user", "content": "How long?"}]}
    bot = (await alice.http.post("/bots", json={"title": "Tea", "type": "agent"})).json()["id"]
    answering = asyncio.create_task(alice.http.post(url, json={**asked, "model": bot}))
    turn = await until(begun, within=20)
    intended = (await logged_calls())[-1]
    assert (intended["api_name"], intended["status_code"]) == ("CreateChatCompletion", None)
    await agent.answer(turn, "Three minutes.")
    assert (await answering).status_code == 200
    row = (await logged_calls())[-1]
    assert (row["user_id"], row["resource_type"], row["resource_id"]) == (alice.id, "turn", turn)
    assert (row["id"], row["status_code"], row["path"]) == (intended["id"], 200, "/v1/chat/completions")
    refused = await alice.http.post(url, json={**asked, "model": "none"})
    row = (await logged_calls())[-1]
    assert (refused.status_code, row["status_code"], row["resource_id"]) == (400, 400, None)
    assert row["error_message"] == refused.json()["error"]["message"]


async def test_an_upload_leaves_names_and_sizes_and_nothing_of_the_bytes(alice: Person, logged_calls: Any) -> None:
    collection = await alice.collection()
    await alice.upload(collection, ("a.txt", f"{SECRET} tea"), ("b.txt", SECRET))
    row = (await logged_calls())[-1]
    assert row["request_data"] == {"documents": [{"name": "a.txt", "size": 20}, {"name": "b.txt", "size": 16}]}
    assert (row["resource_type"], row["resource_id"]) == ("document", None)
    assert SECRET not in json.dumps(row, default=str)
    await alice.upload(collection, ("a.txt", f"other {SECRET}"))
    refused = (await logged_calls())[-1]
    assert (refused["status_code"], refused["request_data"]) == (
        409,
        {"documents": [{"name": "a.txt", "size": 22}]},
    )


REFUSALS: dict[int, tuple[str, str, dict[str, Any]]] = {
    400: ("POST", "/collections", {"json": {"title": "t", "type": "nope"}}),
    401: ("DELETE", "/collections/col0123", {"headers": {"authorization": "Bearer nope"}}),
    403: ("PUT", "/system/default-quotas", {"json": {"quotas": {"max_bot_count": 1}}}),
    404: ("PUT", "/collections/col0123", {"json": {"title": "t"}}),
    413: (
        "POST",
        "/collections",
        {"content": b"{" + b" " * 10_000_000, "headers": {"content-type": "application/json"}},
    ),
    422: ("POST", "/collections", {"json": {"title": ["wrong"], "password": SECRET}}),
}


@pytest.mark.parametrize("status", REFUSALS)
async def test_a_refusal_is_on_record_with_its_status_and_its_reason(
    alice: Person, logged_calls: Any, status: int
) -> None:
    method, path, request = REFUSALS[status]
    answer = await alice.http.request(method, path, **request)
    [row] = await logged_calls()
    assert (answer.status_code, row["status_code"]) == (status, status)
    assert row["error_message"]
    assert row["response_data"] is None
    assert row["user_id"] == (None if status == 401 else alice.id)
    assert SECRET not in json.dumps(row, default=str)


async def test_a_problem_is_on_record_as_any_other_refusal(alice: Person, logged_calls: Any) -> None:
    await alice.http.put("/collections/col0123", json={"title": "t"}, headers={"accept": "application/problem+json"})
    assert [(row["status_code"], row["error_message"]) for row in await logged_calls()] == [
        (404, "Collection col0123 not found")
    ]


async def test_an_unforeseen_failure_is_on_record_as_such(
    alice: Person, app: FastAPI, logged_calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(CollectionService, "create", fail)
    assert (await alice.http.post("/collections", json={"title": "t"})).status_code == 500
    [row] = await logged_calls()
    assert (row["status_code"], row["user_id"], row["api_name"]) == (500, alice.id, "CreateCollection")
    assert SECRET not in json.dumps(row, default=str)


async def test_what_has_no_route_is_no_call(alice: Person, logged_calls: Any) -> None:
    assert (await alice.http.post("/nope")).status_code == 404
    assert (await alice.http.patch("/collections")).status_code == 405
    assert await logged_calls() == []


@pytest.mark.parametrize("settings", [{"rates": RateSettings(write="2/minute")}], indirect=True)
async def test_what_a_rate_limit_turns_away_does_not_fill_the_log(alice: Person, logged_calls: Any) -> None:
    answers = [await alice.http.post("/apikeys", json={}) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert [row["status_code"] for row in await logged_calls()] == [200, 200]


async def test_a_failed_login_leaves_the_name_that_was_tried_and_no_password(
    make_visitor: Any, logged_calls: Any
) -> None:
    visitor = await make_visitor()
    answer = await visitor.post("/login", json={"username": "eve", "password": SECRET})
    [row] = await logged_calls()
    assert answer.status_code == row["status_code"] == 400
    assert (row["user_id"], row["username"], row["resource_type"]) == (None, "eve", "session")
    assert row["request_data"] is None, "a stranger writes nothing into the log but a name"
    assert SECRET not in json.dumps(row, default=str)


async def test_strangers_of_one_address_leave_so_many_entries_and_hide_nobody_elses(
    alice: Person, make_visitor: Any, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack: the log is filled by whoever may not even log in."""
    monkeypatch.setattr(strangers, "MOST", 3)
    visitor = await make_visitor()
    for number in range(6):
        await visitor.post("/collections", json={"title": "x" * 60_000})
        await visitor.post("/login", json={"username": f"eve{number}", "password": SECRET})
    assert (await alice.http.post("/collections", json={"title": "Tea"})).status_code == 200
    async with engine.connect() as conn:
        found = (await conn.execute(text("SELECT user_id, request_data FROM audit_log"))).all()
    assert [it.request_data for it in found if it.user_id is None] == [None] * 3
    assert [it.request_data for it in found if it.user_id == alice.id][-1] == {"body": {"title": "Tea"}}


async def test_a_login_through_a_provider_is_on_record_without_what_the_provider_sent(
    make_visitor: Any, logged_calls: Any
) -> None:
    visitor = await make_visitor()
    answer = await visitor.get("/auth/nowhere/callback", params={"code": SECRET, "state": SECRET})
    [row] = await logged_calls()
    assert (row["http_method"], row["status_code"]) == ("GET", answer.status_code)
    assert (row["resource_type"], row["request_data"]) == ("session", None)
    assert SECRET not in json.dumps(row, default=str)


async def test_secrets_are_masked_in_what_is_asked_and_what_is_answered(alice: Person, logged_calls: Any) -> None:
    made = await alice.http.post(f"/apikeys?token={SECRET}&page=1", json={"description": f"for {alice.key}"})
    [row] = await logged_calls()
    assert row["request_data"] == {"query": {"token": "***", "page": "1"}, "body": {"description": "for ***"}}
    assert row["response_data"]["key"] == "***"
    assert made.json()["key"] not in json.dumps(row, default=str)


async def test_what_is_meant_is_on_record_before_it_is_done(
    alice: Person, app: FastAPI, logged_calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collections = CollectionService
    create, seen = collections.create, []

    async def watched(*arguments: Any) -> Any:
        seen.extend(await logged_calls())
        return await create(*arguments)

    monkeypatch.setattr(collections, "create", watched)
    await alice.http.post("/collections", json={"title": "Tea"})
    [row] = seen
    assert (row["user_id"], row["api_name"], row["status_code"], row["end_time"]) == (
        alice.id, "CreateCollection", None, None,
    )  # fmt: skip
    assert row["request_data"] == {"body": {"title": "Tea"}}
    assert [row["status_code"] for row in await logged_calls()] == [200]


async def test_a_gateway_that_dies_on_the_way_leaves_what_was_meant(
    alice: Person, app: FastAPI, logged_calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def never(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(CollectionService, "create", never)
    call = asyncio.create_task(alice.http.post("/collections", json={"title": "Tea"}))
    await begun.wait()
    call.cancel()
    await asyncio.wait([call])
    [row] = await logged_calls()
    assert (row["user_id"], row["status_code"], row["end_time"]) == (alice.id, None, None)
    [shown] = await told(alice)
    assert (shown["status_code"], shown["duration_ms"]) == (None, None)


async def test_without_a_log_nothing_is_done(
    alice: Person, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "_BEGIN", text("SELECT nowhere()"))
    answer = await alice.http.post("/collections", json={"title": "Tea"})
    assert (answer.status_code, answer.json()["error_code"]) == (500, "DATABASE_ERROR")
    async with engine.connect() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM collection"))).scalar_one() == 0


async def test_an_end_that_cannot_be_recorded_takes_nothing_from_the_answer_and_is_logged(
    alice: Person, monkeypatch: pytest.MonkeyPatch, logged: list[Any], logged_calls: Any
) -> None:
    monkeypatch.setattr(repository, "_END", text("SELECT nowhere()"))
    answer = await alice.http.post("/collections", json={"title": "Tea"})
    assert answer.status_code == 200
    [row] = await logged_calls()
    assert (row["status_code"], row["user_id"]) == (None, alice.id)
    [line] = [line for line in logged if line["event"] == "audit.outcome_unrecorded"]
    assert (line["entry"], line["status_code"]) == (row["id"], 200)


async def test_many_calls_at_once_share_statements_and_lose_none(
    alice: Person, logged_calls: Any, engine: AsyncEngine
) -> None:
    answers = await asyncio.gather(*(alice.http.post("/apikeys", json={"description": f"{n}"}) for n in range(40)))
    rows = await logged_calls()
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(row["resource_id"] for row in rows) == sorted(answer.json()["id"] for answer in answers)
    assert {row["status_code"] for row in rows} == {200}


async def test_an_answer_is_whole_only_when_its_end_is_on_record(served: Any, logged_calls: Any) -> None:
    answer = await served.post("/collections", json={"title": "Tea"})
    assert answer.status_code == 200
    [row] = await logged_calls()
    assert (row["status_code"], row["ip_address"]) == (200, "127.0.0.1")


async def test_the_setting_that_nobody_waits_for_the_disk_ends_with_its_statement(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        plain = await conn.execution_options(isolation_level="AUTOCOMMIT")
        before = (await plain.execute(text("SHOW synchronous_commit"))).scalar_one()
        await repository.begin(plain, [])
        assert (await plain.execute(text("SHOW synchronous_commit"))).scalar_one() == before


async def test_everybody_sees_their_own_calls_and_an_administrator_all(
    admin: Person, alice: Person, mallory: Person
) -> None:
    await alice.collection()
    await mallory.collection()
    assert {row["user_id"] for row in await told(admin)} == {alice.id, mallory.id}
    assert {row["user_id"] for row in await told(alice)} == {alice.id}
    assert {row["user_id"] for row in await told(alice, user_id=mallory.id)} == {alice.id}
    assert {row["user_id"] for row in await told(alice, username=mallory.id)} == {alice.id}
    [entry] = await told(admin, user_id=alice.id)
    for person, status in ((admin, 200), (alice, 200), (mallory, 404)):
        assert (await person.http.get(f"/audit-logs/{entry['id']}")).status_code == status
    assert (await alice.http.get(f"/audit-logs/{entry['id']}")).json() == entry
    assert (await admin.http.get("/audit-logs/nope")).status_code == 404


async def test_the_log_is_filtered_by_every_field_it_has(admin: Person, alice: Person) -> None:
    collection = await alice.collection()
    await alice.http.delete(f"/collections/{collection}")
    await alice.http.post("/apikeys", json={})
    await alice.http.put("/collections/no-such-one", json={"title": "t"})
    whole = await told(admin)
    assert len(whole) == 4
    moment = whole[1]["created"]

    async def names(**asked: Any) -> list[str]:
        return sorted(row["api_name"] for row in await told(admin, **asked))

    assert await names(username=alice.id) == sorted(row["api_name"] for row in whole)
    assert await names(username="nobody") == []
    assert await names(resource_type="api_key") == ["CreateApiKey"]
    assert await names(resource_id=collection) == ["CreateCollection", "DeleteCollection"]
    assert await names(api_name="DeleteCollection") == ["DeleteCollection"]
    assert await names(api_name="collection") == ["CreateCollection", "DeleteCollection", "UpdateCollection"]
    assert await names(api_name="_") == []
    assert await names(http_method="put") == ["UpdateCollection"]
    assert await names(status_code=404) == ["UpdateCollection"]
    assert await names(search="NO-SUCH") == ["UpdateCollection"]
    assert await names(search="%") == []
    after, until_then = await names(start_date=moment), await names(end_date=moment)
    assert sorted(after + until_then) == sorted([*(row["api_name"] for row in whole), whole[1]["api_name"]])
    for bad in ({"resource_type": "nope"},):
        assert (await admin.http.get("/audit-logs", params=bad)).status_code == 400
    for wrong in ({"status_code": "x"}, {"start_date": "yesterday"}, {"start_date": "2026-01-01T00:00:00"},
                  {"sort_by": "request_data"}, {"sort_order": "up"}, {"page": 0}, {"page_size": 101}):  # fmt: skip
        assert (await admin.http.get("/audit-logs", params=wrong)).status_code == 422, wrong


EMPTY = [
    "user_id",
    "username",
    "resource_type",
    "resource_id",
    "api_name",
    "http_method",
    "status_code",
    "start_date",
    "end_date",
    "search",
]


async def test_a_filter_that_nobody_filled_in_is_none(admin: Person, alice: Person) -> None:
    await alice.http.post("/apikeys", json={})
    for reader in (admin, alice):
        rows = await told(reader, **dict.fromkeys(EMPTY, ""))
        assert [row["api_name"] for row in rows] == ["CreateApiKey"]


async def test_what_was_asked_and_answered_are_json_in_strings(admin: Person, alice: Person) -> None:
    made = (await alice.http.post("/collections", json={"title": "녹차"})).json()
    await alice.http.delete("/collections/colunknown")
    [refused, row] = await told(admin)
    assert json.loads(row["request_data"]) == {"body": {"title": "녹차"}}
    assert "녹차" in row["request_data"], "readable as it is"
    assert json.loads(row["response_data"])["id"] == made["id"]
    assert (refused["request_data"], refused["response_data"]) == (None, None)
    assert (await admin.http.get(f"/audit-logs/{row['id']}")).json() == row


def test_operations_are_named_in_the_contracts_style() -> None:
    assert [name_of(it) for it in ("create_collection", "update_llm_provider", "login")] == [
        "CreateCollection",
        "UpdateLLMProvider",
        "Login",
    ]


async def test_the_log_is_paged_and_sorted(admin: Person, alice: Person) -> None:
    made = [(await alice.http.post("/apikeys", json={})).json()["id"] for _ in range(5)]
    first = (await admin.http.get("/audit-logs", params={"page_size": 2})).json()
    assert (first["total"], first["total_pages"], first["has_next"], first["has_prev"]) == (5, 3, True, False)
    assert [row["resource_id"] for row in first["items"]] == made[:-3:-1]
    oldest = await told(admin, page_size=5, sort_by="created", sort_order="asc")
    assert [row["resource_id"] for row in oldest] == made
    for column in ("start_time", "end_time", "status_code", "username", "api_name", "path", "resource_type"):
        assert len(await told(admin, sort_by=column)) == 5


def test_every_route_that_changes_something_says_what_it_is_about(app: FastAPI) -> None:
    unknown = []
    for path, operations in app.openapi()["paths"].items():
        template = path.removeprefix(ROOT)
        for method in operations:
            audited = path.startswith((ROOT, "/v1/")) and is_audited(method.upper(), template)
            if audited and resource_of(template, {})[0] is None:
                unknown.append(f"{method.upper()} {template}")
    assert unknown == [], "add the noun to aperag_api.identity.audit.decide, or the question to its READS_BY_POST"
