"""Providers: whose they are, what is shown of their keys, and what else hangs on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from aperag_common.auth.vault import Vault
from aperag_models import keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

SECRET = "integration-tests-only"
KEY = "sk-0123456789abcdef0123456789abcdef"
BODY = {"name": "mine", "label": "Mine", "base_url": "https://models.example.org/v1", "api_key": KEY}
PUBLIC = {
    "openai",
    "anthropic",
    "gemini",
    "xai",
    "deepseek",
    "alibabacloud",
    "siliconflow",
    "jina",
    "openrouter",
    "local",
}


async def test_the_public_providers_are_there_from_the_start(make_person: Callable[..., Awaitable[Any]]) -> None:
    admin = await make_person("admin")
    body = (await admin.http.get("/llm_configuration")).json()
    assert {it["name"] for it in body["providers"]} == PUBLIC
    assert body["providers"][0]["name"] == "local"
    assert [it["status"] for it in body["providers"]] == ["enable", *["disable"] * 9]
    models = {(it["provider_name"], it["api"], it["model"]) for it in body["models"]}
    assert {
        ("siliconflow", "completion", "Qwen/Qwen3-8B"),
        ("alibabacloud", "embedding", "text-embedding-v3"),
        ("alibabacloud", "rerank", "gte-rerank-v2"),
        ("openrouter", "completion", "google/gemini-2.5-flash"),
        ("local", "completion", "extractive"),
        ("local", "embedding", "use-multilingual-v3"),
    } <= models
    assert (await admin.http.get("/llm_providers")).json()["items"] == body["providers"]


async def test_a_users_provider_is_theirs_alone(alice: Any, mallory: Any) -> None:
    made = await alice.http.post("/llm_providers", json=BODY)
    assert made.status_code == 200, made.text
    body = made.json()
    assert (body["name"], body["user_id"], body["status"]) == ("mine", alice.id, "enable")
    assert body["api_key"] == "sk-0****cdef"
    assert [it["name"] for it in (await alice.http.get("/llm_configuration")).json()["providers"]] == ["mine"]
    assert (await mallory.http.get("/llm_configuration")).json() == {"providers": [], "models": []}
    for method in ("GET", "PUT", "DELETE"):
        answer = await mallory.http.request(method, "/llm_providers/mine", json={})
        assert answer.status_code == 404, method
    assert (await mallory.http.get("/llm_providers/mine/models")).status_code == 404
    assert (await mallory.http.get("/llm_provider_models", params={"provider_name": "mine"})).status_code == 404
    taken = await mallory.http.post("/llm_providers", json=BODY)
    assert (taken.status_code, taken.json()["error_code"]) == (400, "LLM_PROVIDER_ALREADY_EXISTS")


async def test_the_key_is_stored_encrypted_under_a_secret_of_its_own(alice: Any, engine: AsyncEngine) -> None:
    await alice.http.post("/llm_providers", json=BODY)
    async with engine.connect() as conn:
        stored = (await conn.execute(text("SELECT api_key FROM llm_provider WHERE name = 'mine'"))).scalar_one()
    assert KEY not in stored
    vault = Vault.of(keys.provider_secret(SecretStr(SECRET)))
    assert vault.decrypt(stored, context=keys.context("mine")) == KEY


async def test_what_is_absent_or_masked_stays(alice: Any) -> None:
    made = (await alice.http.post("/llm_providers", json=BODY)).json()
    for change in ({"api_key": ""}, {"api_key": made["api_key"]}, {"label": "Mine"}):
        changed = (await alice.http.put("/llm_providers/mine", json=change)).json()
        assert {**changed, "updated": None} == {**made, "updated": None}
    changed = (await alice.http.put("/llm_providers/mine", json={"api_key": "another-key-0123456789"})).json()
    assert {**changed, "updated": None} == {**made, "api_key": "anot****6789", "updated": None}
    off = (await alice.http.put("/llm_providers/mine", json={"status": "disable"})).json()
    assert (off["api_key"], off["status"]) == (None, "disable")


async def test_a_key_does_not_follow_the_address_to_another_origin(alice: Any) -> None:
    """The attack: somebody with a stolen API key has the key of the provider sent to a server of theirs."""
    made = (await alice.http.post("/llm_providers", json=BODY)).json()
    for elsewhere in (
        "https://evil.example.com/v1",
        "http://models.example.org/v1",
        "https://models.example.org:444/v1",
    ):
        for key in ({}, {"api_key": made["api_key"]}, {"api_key": " "}):
            refused = await alice.http.put("/llm_providers/mine", json={"base_url": elsewhere, **key})
            assert refused.status_code == 400, refused.text
            assert "Send api_key again" in refused.json()["message"]
    assert (await alice.http.get("/llm_providers/mine")).json()["base_url"] == BODY["base_url"]
    same = "https://models.example.org:443/v2"
    assert (await alice.http.put("/llm_providers/mine", json={"base_url": same})).json()["base_url"] == same
    moved = {"base_url": "https://other.example.org/v1", "api_key": "another-key-0123456789"}
    assert (await alice.http.put("/llm_providers/mine", json=moved)).json()["api_key"] == "anot****6789"


async def test_a_name_is_given_where_none_is_chosen_and_short_keys_are_not_shown(alice: Any) -> None:
    unnamed = await alice.http.post("/llm_providers", json={**BODY, "name": ""})
    assert unnamed.json()["name"].startswith("provider_")
    made = (await alice.http.post("/llm_providers", json={**BODY, "name": None, "api_key": "short"})).json()
    assert made["name"].startswith("provider_")
    assert len(made["name"]) == len("provider_") + 8
    assert made["api_key"] == "****"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"base_url": "ftp://models.example.org"}, 400),
        ({"base_url": "https://user:pass@models.example.org"}, 400),
        ({"base_url": "http://169.254.169.254/v1"}, 400),
        ({"base_url": "http://localhost:11434/v1"}, 400),
        ({"base_url": "nonsense"}, 400),
        ({"base_url": "http://[::"}, 400),
        ({"name": "a/b"}, 422),
        ({"status": "on"}, 422),
        ({"label": None}, 422),
    ],
)
async def test_what_cannot_be_a_provider_is_refused(change: dict[str, Any], status: int, alice: Any) -> None:
    answer = await alice.http.post("/llm_providers", json={**BODY, **change})
    assert answer.status_code == status, answer.text
    if status == 400:
        assert "base_url" in answer.json()["message"]
    assert (await alice.http.get("/llm_configuration")).json()["providers"] == []


async def test_only_administrators_change_what_belongs_to_the_installation(
    alice: Any, make_person: Callable[..., Awaitable[Any]]
) -> None:
    admin = await make_person("admin")
    for method in ("GET", "PUT", "DELETE"):
        assert (await alice.http.request(method, "/llm_providers/openai", json={})).status_code == 403, method
    changed = await admin.http.put("/llm_providers/openai", json={"api_key": KEY})
    assert (changed.json()["api_key"], changed.json()["status"]) == ("sk-0****cdef", "enable")
    for method, path in (("PUT", ""), ("DELETE", ""), ("POST", "/models")):
        body = {"api": "completion", "model": "x"} if path else {}
        answer = await admin.http.request(method, f"/llm_providers/local{path}", json=body)
        assert (answer.status_code, "stays as it is" in answer.json()["message"]) == (400, True), method


async def test_published_it_belongs_to_the_installation(make_person: Callable[..., Awaitable[Any]], alice: Any) -> None:
    admin = await make_person("admin")
    await admin.http.post("/llm_providers", json=BODY)
    await admin.http.post("/llm_providers/mine/models", json={"api": "completion", "model": "m", "tags": ["recommend"]})
    before = (await alice.http.post("/available_models", json={})).json()["items"]
    assert [it["name"] for it in before] == ["local"]
    assert (await alice.http.post("/llm_providers/mine/publish")).status_code == 403
    assert (await admin.http.post("/llm_providers/mine/publish")).json()["user_id"] == "public"
    assert (await admin.http.post("/llm_providers/mine/publish")).status_code == 400
    after = (await alice.http.post("/available_models", json={})).json()["items"]
    assert [it["name"] for it in after] == ["local", "mine"]


async def test_deleting_one_takes_its_models_along_and_twice_is_no_error(alice: Any) -> None:
    await alice.http.post("/llm_providers", json=BODY)
    await alice.http.post("/llm_providers/mine/models", json={"api": "completion", "model": "m"})
    first, second = [await alice.http.delete("/llm_providers/mine") for _ in range(2)]
    assert (first.status_code, first.json()) == (200, True)
    assert (second.status_code, second.json()) == (200, None)
    assert (await alice.http.get("/llm_configuration")).json() == {"providers": [], "models": []}


async def test_what_collections_are_searched_with_stays(alice: Any, engine: AsyncEngine) -> None:
    await alice.http.post("/llm_providers", json=BODY)
    await alice.http.post("/llm_providers/mine/models", json={"api": "embedding", "model": "a/m"})
    collection = await alice.collection()
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE collection SET wanted_model = 'mine/a/m' WHERE id = :id"), {"id": collection})
    for path in ("/llm_providers/mine", "/llm_providers/mine/models/embedding/a/m"):
        answer = await alice.http.delete(path)
        assert (answer.status_code, "1 collection(s)" in answer.json()["message"]) == (409, True)
    await alice.http.delete(f"/collections/{collection}")
    assert (await alice.http.delete("/llm_providers/mine")).json() is True


async def test_nobody_keeps_providers_without_end(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aperag_api.models.providers.service.MOST_PROVIDERS", 2)
    statuses = [
        (await alice.http.post("/llm_providers", json={**BODY, "name": f"p{number}"})).status_code
        for number in range(3)
    ]
    assert statuses == [200, 200, 400]
