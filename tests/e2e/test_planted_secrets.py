"""Secrets go in through every route that takes one, and come out nowhere: the whole stack is searched for them."""

from __future__ import annotations

import secrets as random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_common.bus.connection import connect
from aperag_common.db.models import Base
from aperag_common.db.session import make_engine
from aperag_common.settings import NatsSettings, PostgresSettings
from aperag_common.subjects import ALL_SPANS, SPANS
from aperag_testing.client import Client
from aperag_testing.conversation import Talk, offer
from aperag_testing.planted import Secrets
from aperag_testing.provider import Reply, providing
from aperag_testing.stack import Stack, running
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(400)

TEA = b"Green tea is steamed soon after it was picked."
JSON = {"content-type": "application/json"}
LAST_TRACE = "feedfacefeedfacefeedfacefeedface"


def mark(name: str) -> str:
    """Long enough for every rule on passwords, and without a character that an encoding would change."""
    return f"Planted{name}{random.token_hex(12)}"


@dataclass(slots=True)
class Sent:
    """One request with a secret in it; ``tells`` says that its answer may hold one, and which is its own affair."""

    what: str
    method: str
    path: str
    request: dict[str, Any] = field(default_factory=dict)
    tells: bool = False


@dataclass(slots=True)
class Planting:
    """The stack, what was planted in it, and what its gateway answered."""

    stack: Stack
    secrets: Secrets
    answers: list[tuple[str, bytes]] = field(default_factory=list)
    complete: bool = False

    def new(self, name: str) -> str:
        return self.secrets.plant(name, mark(name.title().replace(" ", "")))

    async def send(self, http: httpx.AsyncClient, sent: Sent) -> httpx.Response:
        answer = await http.request(sent.method, sent.path, **sent.request)
        if not sent.tells:
            headers = b"\n".join(b": ".join(header) for header in answer.headers.raw)
            self.answers.append((f"{sent.what}: {answer.status_code}", headers + b"\n\n" + answer.content))
        return answer


@pytest.fixture(scope="module")
def planting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planting]:
    secrets = Secrets()
    settings = {
        "APERAG_OAUTH__PROVIDERS__STUB__CLIENT_ID": "aperag",
        "APERAG_OAUTH__PROVIDERS__STUB__CLIENT_SECRET": secrets.plant("oauth client secret", mark("Client")),
        "APERAG_OAUTH__PROVIDERS__STUB__ISSUER": "http://127.0.0.1:9",
        "OAUTH_REDIRECT_URL": "http://127.0.0.1:9/callback",
        "APERAG_WEB__JINA_API_KEY": secrets.plant("jina key", mark("Jina")),
        "JWT_SECRET": secrets.plant("jwt secret", mark("Sessions")),
        # What a careless shell exports reaches no service.
        "APERAG_SECRET_KEY": secrets.plant("exported secret key", mark("Exported")),
        "APERAG_API_KEY": secrets.plant("exported API key", mark("ExportedKey")),
        "APERAG_PROVIDER_KEYS": secrets.plant("exported secret of provider keys", mark("ExportedProviders")),
        "APERAG_OUTBOUND__ALLOW": '["127.0.0.1"]',
        "APERAG_TELEMETRY__LOG_LEVEL": "DEBUG",
    }
    with running(tmp_path_factory.mktemp("planted") / "home", "--nats-tls", settings=settings) as stack:
        for path in own_secrets(stack.home):
            secrets.plant(path.name, path.read_text(encoding="ascii").strip())
        yield Planting(stack, secrets)


def own_secrets(home: Path) -> list[Path]:
    files = [it for it in (home / "secrets").iterdir() if it.is_file()]
    return [*files, *(home / "postgres").glob("*.password")]


def identity(planting: Planting, collection: str) -> list[Sent]:
    """Routes of users, sessions, invitations, keys and providers."""
    new = planting.new
    return [
        Sent("login wrong", "POST", "/login", {"json": {"username": "admin", "password": new("wrong password")}}),
        Sent("login list", "POST", "/login", {"json": {"username": "admin", "password": [new("listed password")]}}),
        Sent("login nested", "POST", "/login", {"json": {"username": {"password": new("nested password")}}}),
        Sent("login text", "POST", "/login", {"content": f'{{"password": "{new("text password")}"}}'}),
        Sent("login lone", "POST", "/login", {"content": f'"{new("lone password")}"', "headers": JSON}),
        Sent("login cut", "POST", "/login", {"content": f'{{"password": "{new("cut password")}', "headers": JSON}),
        Sent("login form", "POST", "/login", {"data": {"username": "x", "password": new("form password")}}),
        Sent("login query", "POST", f"/login?username=admin&password={new('query password')}"),
        Sent("register short", "POST", "/register", {"json": {"username": "b", "password": new("odd password") * 40}}),
        Sent("register type", "POST", "/register", {"json": {"username": 7, "password": new("typed password")}}),
        Sent("register token", "POST", "/register", {"json": {"token": new("wrong invitation"), "username": "c"}}),
        Sent("invite", "POST", "/invite", {"json": {"email": "x", "token": new("invite token")}}),
        Sent(
            "change password",
            "POST",
            "/change-password",
            {"json": {"username": "admin", "old_password": new("old password"), "new_password": new("new password")}},
        ),
        Sent("callback", "GET", f"/auth/stub/callback?code={new('oauth code')}&state={new('oauth state')}"),
        Sent("callback post", "POST", f"/auth/stub/callback?code={new('posted oauth code')}"),
        Sent("authorize", "GET", "/auth/stub/authorize"),
        Sent("bearer", "GET", "/user", {"headers": {"authorization": f"Bearer {new('wrong bearer')}"}}),
        Sent("wrong key", "POST", "/apikeys", {"headers": {"authorization": f"Bearer {unknown_key(planting)}"}}),
        Sent("basic", "GET", "/user", {"headers": {"authorization": f"Basic {new('basic credentials')}"}}),
        Sent("cookie", "GET", "/user", {"headers": {"cookie": f"session={new('wrong cookie')}"}}),
        Sent("key in query", "GET", f"/collections/{collection}?api_key={new('key in query')}"),
        Sent("key by id", "PUT", f"/apikeys/{unknown_key(planting)}", {"json": {"description": "x"}}),
    ]


def unknown_key(planting: Planting) -> str:
    return planting.secrets.plant(f"unknown key {len(planting.secrets.planted)}", f"sk-{random.token_hex(16)}")


def contents(planting: Planting, collection: str) -> list[Sent]:
    """Routes of collections, documents, searches, settings and the web."""
    new = planting.new
    source = {name: new(name.replace("_", " ")) for name in ("password", "secret_access_key", "email_password")}
    wrong = {"title": 1, "description": [], "config": {"app_secret": new("app secret"), "port": "x"}}
    return [
        Sent("create", "POST", "/collections", {"json": {"title": "Tea", "config": source}}),
        Sent("create wrong", "POST", "/collections", {"json": wrong}),
        Sent("put", "PUT", f"/collections/{collection}", {"json": {"title": "Tea", "config": source}}),
        Sent("put long", "PUT", f"/collections/{collection}", {"json": {"config": {"password": new("long") * 200}}}),
        Sent("upload", "POST", f"/collections/{collection}/documents", {"data": {"password": new("form field")}}),
        Sent("settings", "PUT", "/settings", {"json": {"mineru_api_token": new("mineru token")}}),
        Sent("settings shown", "GET", "/settings"),
        Sent("settings type", "PUT", "/settings", {"json": {"mineru_api_token": {"a": new("typed token")}}}),
        Sent("settings name", "PUT", "/settings", {"json": {"mineru_token": new("misnamed token")}}),
        Sent("test token", "POST", "/settings/test_mineru_token", {"json": {"token": new("tested token")}}),
        Sent("try token", "POST", "/collections/test-mineru-token", {"json": {"token": new("tried token")}}),
        # Results go by the addresses that were asked for.
        Sent(
            "web read",
            "POST",
            "/web/read",
            {"json": {"url_list": [f"http://u:{new('url password')}@127.0.0.1/"]}},
            tells=True,
        ),
        Sent("prompt", "POST", "/prompts/preview", {"json": {"type": "x", "variables": {"token": new("variable")}}}),
        Sent(
            "search",
            "POST",
            f"/collections/{collection}/searches",
            {"json": {"query": "tea", "fulltext_search": {"topk": "x", "api_key": new("key in a search")}}},
        ),
        Sent("history", "GET", f"/collections/{collection}/searches?token={new('token in query')}"),
        Sent("nowhere", "POST", "/nowhere", {"json": {"password": new("password to nowhere")}}),
        Sent("wrong method", "PATCH", "/login", {"json": {"password": new("patched password")}}),
    ]


def models(planting: Planting) -> list[Sent]:
    """Routes of providers and models; what a provider's key looks like is shown, the key is not."""
    new, provider = planting.new, {"name": "planted", "label": "P", "base_url": "https://models.example.org/v1"}
    return [
        Sent("provider", "POST", "/llm_providers", {"json": {**provider, "api_key": new("provider key")}}),
        Sent("provider again", "POST", "/llm_providers", {"json": {**provider, "api_key": new("second provider key")}}),
        Sent("provider wrong", "POST", "/llm_providers", {"json": {"api_key": new("wrong provider key"), "label": 1}}),
        Sent("provider put", "PUT", "/llm_providers/planted", {"json": {"api_key": new("changed provider key")}}),
        Sent("provider public", "PUT", "/llm_providers/openai", {"json": {"api_key": new("public provider key")}}),
        Sent("provider gone", "PUT", "/llm_providers/nowhere", {"json": {"api_key": new("key to nowhere")}}),
        Sent("provider shown", "GET", "/llm_providers/planted"),
        Sent("providers", "GET", "/llm_providers"),
        Sent("configuration", "GET", "/llm_configuration"),
        Sent("available", "POST", "/available_models", {"json": {}}),
        Sent("embeddings", "POST", "/embeddings", {"json": {"api_key": new("key in embeddings"), "input": ["a"]}}),
        Sent("rerank", "POST", "/rerank", {"json": {"api_key": new("key in rerank"), "documents": 1}}),
    ]


async def answer(planting: Planting, admin: Client) -> None:
    """A provider that quotes its key when it refuses, and one that answers."""
    key = planting.new("key of a provider that quotes it")
    async with providing() as provider:
        talk = await Talk.begin(admin, await offer(admin, provider, key=key))
        provider.replies += [Reply(status=401, message=f"{key} is not known"), Reply(["Green."])]
        for outcome in ("failed", "answered"):
            turn = await talk.ask("Which tea?")
            assert (await talk.ended(turn))["state"] == outcome
            for path in (f"/turns/{turn}", f"/turns/{turn}/events", f"/turns/{turn}/snapshot", "/bots"):
                await planting.send(admin.http, Sent(f"{outcome}: {path}", "GET", path))
        assert {asked.headers["authorization"] for asked in provider.asked} == {f"Bearer {key}"}


@pytest_asyncio.fixture
async def admin(planting: Planting) -> AsyncIterator[Client]:
    async with Client(planting.stack.url, planting.stack.api_key) as client:
        yield client


async def live(planting: Planting, admin: Client) -> str:
    """What people do with real secrets: each is used for what it is for, then looked for like the others."""
    plant, url = planting.secrets.plant, f"{planting.stack.url}/api/v1"
    invited = await admin.json("POST", "/invite", json={"email": "anna@example.org", "username": "anna", "role": "rw"})
    token, password = plant("invitation token", invited["token"]), planting.new("real password")
    body = {"username": "anna", "email": "anna@example.org", "password": password, "token": token}
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as browser:
        registered = await planting.send(browser, Sent("register", "POST", "/register", {"json": body}, tells=True))
        assert registered.status_code == 200, registered.text
        plant("first key", registered.json()["api_key"])
        entry = {"username": "anna", "password": password}
        answer = await planting.send(browser, Sent("login", "POST", "/login", {"json": entry}, tells=True))
        assert answer.status_code == 200, answer.text
        plant("session", answer.cookies["session"])
        for sent in (
            Sent("me", "GET", "/user"),
            Sent("my keys", "GET", "/apikeys"),
            Sent("no admin", "GET", "/settings"),
            Sent("logout", "POST", "/logout"),
        ):
            await planting.send(browser, sent)
    made = await admin.json("POST", "/apikeys", json={"description": "planted"})
    plant("second key", made["key"])
    async with Client(planting.stack.url, made["key"]) as other:
        collection = await other.collection()
        (document,) = await other.upload(collection, {"tea.txt": TEA})

        async def complete() -> bool:
            return bool((await other.document(collection, document["id"]))["status"] == "COMPLETE")

        await until(complete, within=150)
        assert await other.search(collection, "green tea", wait_for=[document["task_id"]])
    await planting.send(admin.http, Sent("keys", "GET", "/apikeys"))
    await planting.send(admin.http, Sent("revoke", "DELETE", f"/apikeys/{made['id']}"))
    return collection


@pytest_asyncio.fixture
async def planted(planting: Planting, admin: Client) -> Planting:
    """Everything was sent, once for all tests, and its last span has arrived."""
    if planting.complete:
        return planting
    collection = await live(planting, admin)
    await answer(planting, admin)
    for sent in (*identity(planting, collection), *contents(planting, collection), *models(planting)):
        await planting.send(admin.http, sent)
        problem = {**sent.request.get("headers", {}), "accept": "application/problem+json"}
        again = replace(sent, what=f"{sent.what} as a problem", request=sent.request | {"headers": problem})
        await planting.send(admin.http, again)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        headers = {"authorization": f"Bearer {planting.new('mcp bearer')}", "accept": "application/json"}
        mcp = Sent("mcp", "POST", planting.stack.state()["mcp_url"], {"json": {}, "headers": headers})
        await planting.send(http, mcp)
    await admin.json("GET", "/collections", headers={"traceparent": f"00-{LAST_TRACE}-feedfacefeedface-01"})

    async def last_span() -> bool:
        return (await admin.http.get(f"/traces/{LAST_TRACE}")).status_code == 200

    await until(last_span, within=60)
    planting.complete = True
    return planting


async def test_no_answer_tells_a_secret(planted: Planting) -> None:
    wrong = [f"{what}: {found}" for what, body in planted.answers for found in planted.secrets.found_in(body)]
    assert wrong == []


async def test_no_request_made_the_gateway_fail(planted: Planting) -> None:
    assert [what for what, _ in planted.answers if what.endswith((": 500", ": 501"))] == []


async def test_lists_of_audit_entries_and_invitations_tell_none(planted: Planting, admin: Client) -> None:
    audited = await admin.http.get("/audit-logs", params={"page_size": 100})
    assert audited.status_code == 200
    assert len(audited.json()["items"]) > 10
    assert planted.secrets.found_in(audited.content) == []


async def test_no_file_of_the_data_directory_holds_one_but_those_that_are_kept_for_it(planted: Planting) -> None:
    """Logs of all services and servers, the streams of events and commands, the state that the supervisor tells."""
    home = planted.stack.home
    kept = [home / "secrets", *(home / "postgres").glob("*.password"), home / "postgres" / "data"]
    assert planted.secrets.found_below(home, but=kept) == []
    logs = {path.stem for path in (home / "log").glob("*.log")}
    assert logs >= {"agent", "api", "indexer", "reconciler", "mcp", "nats", "postgres", "supervisor"}


async def test_the_database_holds_none_in_any_column_nor_in_its_files(planted: Planting) -> None:
    engine = make_engine(PostgresSettings(url=planted.stack.postgres_url), name="tests")
    wrong: list[str] = []
    try:
        async with engine.connect() as conn:
            for table in Base.metadata.tables:
                rows = (await conn.execute(text(f"SELECT CAST(to_jsonb(t) AS text) FROM {table} t"))).scalars()
                wrong += [f"{table}: {found}" for row in rows for found in planted.secrets.found_in(row.encode())]
    finally:
        await engine.dispose()
    assert wrong == []
    assert planted.secrets.found_below(planted.stack.home / "postgres" / "data") == []


async def test_no_span_holds_one(planted: Planting) -> None:
    home = planted.stack.home
    settings = NatsSettings(
        url=planted.stack.state()["nats_url"],
        seed_file=home / "secrets" / "api.nk",
        tls_ca=home / "secrets" / "nats-tls" / "ca.pem",
    )
    bus = await connect(settings, service="api", instance="tests")
    wrong, seen = [], 0
    try:
        last = (await bus.js.stream_info(SPANS)).state.last_seq
        sequence = 0
        while sequence < last:
            message = await bus.js.get_msg(SPANS, seq=sequence + 1, subject=ALL_SPANS, direct=True, next=True)
            wrong += planted.secrets.found_in(message.data or b"")
            sequence, seen = message.seq or last, seen + 1
    finally:
        await bus.close()
    assert wrong == []
    assert seen > 20


async def test_metrics_and_command_lines_hold_none(planted: Planting) -> None:
    wrong: list[str] = []
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for unit in planted.stack.state()["units"]:
            if unit["name"] not in {"nats", "postgres"}:
                answer = await http.get(f"http://127.0.0.1:{unit['port']}/metrics")
                wrong += [f"{unit['name']}: {found}" for found in planted.secrets.found_in(answer.content)]
    for process in planted.stack.processes():
        line = " ".join(process.cmdline()).encode()
        wrong += [f"{process.pid}: {found}" for found in planted.secrets.found_in(line)]
    assert wrong == []


OWN = {
    "agent": {"provider_keys", "aperag_agent.password"},
    "api": {
        *("secret_key", "provider_keys", "traces_token", "aperag_api.password"),
        *("jwt secret", "oauth client secret", "jina key"),
    },
    "indexer": {"provider_keys", "aperag_indexer.password"},
    "reconciler": {"aperag_reconciler.password"},
    "mcp": {"traces_token"},
    "nats": set(),
    "postgres": set(),
}


@pytest.mark.parametrize("unit", OWN)
async def test_the_environment_of_a_process_holds_no_secret_but_its_own(planted: Planting, unit: str) -> None:
    process = psutil.Process(planted.stack.unit(unit)["pid"])
    environment = "\n".join(f"{name}={value}" for name, value in process.environ().items())
    found = {name.removesuffix(" (in clear)") for name in planted.secrets.found_in(environment.encode())}
    assert found == OWN[unit]


@pytest.mark.long
async def test_a_rotation_loses_nobody_and_stores_nothing_in_clear(planted: Planting, admin: Client) -> None:
    before = (await admin.http.get("/settings")).json()["mineru_api_token"]
    token = planted.stack.home / "secrets" / "traces_token"
    old_token, mcp = token.read_text("ascii").strip(), planted.stack.unit("mcp")["pid"]
    done = planted.stack.aperag("secrets", "rotate", "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"rotated": 1' in done.stdout
    for name in ("secret_key", "provider_keys", "traces_token"):
        planted.secrets.plant(f"new {name}", (planted.stack.home / "secrets" / name).read_text("ascii").strip())
    assert planted.secrets.found_in(f"{done.stdout}{done.stderr}".encode()) == []
    answer = await admin.patiently("GET", "/settings")
    assert answer.json()["mineru_api_token"] == before
    assert planted.stack.unit("mcp")["pid"] != mcp
    spans = f"{planted.stack.url}/v1/traces"
    for shown, status in ((old_token, 401), (token.read_text("ascii").strip(), 200)):
        headers = {"Authorization": f"Bearer {shown}", "Content-Type": "application/json"}
        sent = await admin.http.post(spans, json={"resourceSpans": []}, headers=headers)
        assert sent.status_code == status, sent.text
    resumed = planted.stack.aperag("secrets", "rotate", "--resume", "-o", "json")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert '"rotated": 1' not in resumed.stdout
    logs = planted.stack.home / "log"
    assert planted.secrets.found_below(logs) == []
