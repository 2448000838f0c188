"""Models that providers offer, which can be used, and the installation's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MODELS = "/llm_providers/mine/models"
BUILT_IN = {"local/extractive", "local/multilingual-e5-small", "local/use-multilingual-v3"}


@pytest_asyncio.fixture
async def mine(alice: Any) -> Any:
    body = {"name": "mine", "label": "Mine", "base_url": "https://models.example.org/v1", "api_key": "sk-0123456789"}
    assert (await alice.http.post("/llm_providers", json=body)).status_code == 200
    return alice


async def test_a_models_name_may_hold_slashes(mine: Any) -> None:
    made = await mine.http.post(MODELS, json={"api": "completion", "model": "org/big", "context_window": 4096})
    assert made.status_code == 200, made.text
    body = made.json()
    assert (body["provider_name"], body["custom_llm_provider"], body["tags"]) == ("mine", "mine", [])
    again = await mine.http.post(MODELS, json={"api": "completion", "model": "org/big"})
    assert (again.status_code, "already exists" in again.json()["message"]) == (400, True)
    changed = await mine.http.put(f"{MODELS}/completion/org%2Fbig", json={"tags": ["recommend"]})
    assert (changed.json()["tags"], changed.json()["context_window"]) == (["recommend"], 4096)
    for path in (MODELS, "/llm_provider_models"):
        assert (await mine.http.get(path)).json() == {"items": [changed.json()], "pageResult": None}
    gone = [await mine.http.delete(f"{MODELS}/completion/org/big") for _ in range(2)]
    assert [it.json() for it in gone] == [True, None]
    missing = await mine.http.put(f"{MODELS}/completion/org/big", json={})
    assert (missing.status_code, "not found" in missing.json()["message"]) == (404, True)


@pytest.mark.parametrize(
    "body", [{"model": "m"}, {"api": "completion"}, {"api": "speech", "model": "m"}, {"api": "completion", "model": ""}]
)
async def test_what_is_no_model_is_refused(body: dict[str, str], mine: Any) -> None:
    assert (await mine.http.post(MODELS, json=body)).status_code == 422
    assert (await mine.http.put(f"{MODELS}/speech/m", json={})).status_code == 422


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, {"mine/fit", *BUILT_IN}),
        ({}, {"mine/fit", *BUILT_IN}),
        ({"tag_filters": None}, {"mine/fit", *BUILT_IN}),
        ({"tag_filters": []}, {"mine/fit", "mine/plain", *BUILT_IN}),
        (
            {"tag_filters": [{"operation": "AND", "tags": ["recommend", "free"]}]},
            BUILT_IN,
        ),
        ({"tag_filters": [{"operation": "OR", "tags": ["vision", "nothing"]}]}, {"mine/fit"}),
        ({"tag_filters": [{"operation": "AND", "tags": []}]}, set()),
        (
            {"tag_filters": [{"operation": "AND", "tags": ["vision"]}, {"operation": "OR", "tags": ["free"]}]},
            {"mine/fit", *BUILT_IN},
        ),
    ],
)
async def test_filters_choose_among_what_can_be_called(body: Any, expected: set[str], mine: Any) -> None:
    await mine.http.post(MODELS, json={"api": "completion", "model": "fit", "tags": ["recommend", "vision"]})
    await mine.http.post(MODELS, json={"api": "rerank", "model": "plain"})
    answer = await mine.http.post("/available_models", json=body)
    assert answer.status_code == 200, answer.text
    found = {
        f"{provider['name']}/{model['model']}"
        for provider in answer.json()["items"]
        for api in ("completion", "embedding", "rerank")
        for model in provider[api]
    }
    assert found == expected


async def test_an_unknown_operation_is_named(mine: Any) -> None:
    answer = await mine.http.post("/available_models", json={"tag_filters": [{"operation": "XOR", "tags": ["a"]}]})
    assert answer.status_code == 422
    [error] = answer.json()["detail"]
    assert (error["loc"][-1], error["type"]) == ("operation", "literal_error")


async def test_a_provider_without_a_key_cannot_be_called(mine: Any, mallory: Any) -> None:
    for person, names in ((mine, ["local", "mine"]), (mallory, ["local"])):
        answer = await person.http.post("/available_models", json={"tag_filters": []})
        assert [it["name"] for it in answer.json()["items"]] == names
    await mine.http.put("/llm_providers/mine", json={"status": "disable"})
    answer = await mine.http.post("/available_models", json={"tag_filters": []})
    assert [it["name"] for it in answer.json()["items"]] == ["local"]


async def test_defaults_are_the_administrators_to_set(mine: Any, make_person: Callable[..., Awaitable[Any]]) -> None:
    admin = await make_person("admin")
    none = (await mine.http.get("/default_models")).json()["items"]
    assert {it["scenario"]: it["model"] for it in none} == {
        "default_for_collection_completion": None,
        "default_for_agent_completion": None,
        "default_for_embedding": None,
        "default_for_rerank": None,
        "default_for_background_task": None,
    }
    wanted = {"scenario": "default_for_agent_completion", "provider_name": "siliconflow", "model": "Qwen/Qwen3-8B"}
    assert (await mine.http.put("/default_models", json={"defaults": [wanted]})).status_code == 403
    rerank = {"scenario": "default_for_rerank", "provider_name": "alibabacloud", "model": "gte-rerank-v2"}
    set_ = (await admin.http.put("/default_models", json={"defaults": [wanted, rerank]})).json()["items"]
    by_scenario = {it["scenario"]: it for it in set_}
    assert by_scenario["default_for_agent_completion"] == {**wanted, "custom_llm_provider": "openai"}
    assert by_scenario["default_for_rerank"] == {**rerank, "custom_llm_provider": "alibabacloud"}
    assert (await mine.http.get("/default_models")).json()["items"] == set_
    cleared = {"scenario": "default_for_rerank", "provider_name": None, "model": None}
    left = (await admin.http.put("/default_models", json={"defaults": [cleared]})).json()["items"]
    assert [it["scenario"] for it in left if it["model"]] == ["default_for_agent_completion"]


async def test_a_model_is_tagged_with_what_it_is_the_default_for_as_long_as_it_is(
    mine: Any, make_person: Callable[..., Awaitable[Any]]
) -> None:
    admin = await make_person("admin")
    await admin.http.put("/llm_providers/siliconflow", json={"api_key": "sk-0123456789"})
    scenarios = ["default_for_agent_completion", "default_for_background_task"]
    model = {"provider_name": "siliconflow", "model": "Qwen/Qwen3-8B"}
    path = "/llm_providers/siliconflow/models/completion/Qwen/Qwen3-8B"
    before = next(it for it in await models_of(admin) if it["model"] == model["model"])["tags"]

    async def available(*tags: str) -> dict[str, list[str]]:
        body = {"tag_filters": [{"operation": "AND", "tags": list(tags)}]}
        answer = (await mine.http.post("/available_models", json=body)).json()
        return {it["model"]: it["tags"] for provider in answer["items"] for it in provider["completion"]}

    body = {"defaults": [{"scenario": it, **model} for it in scenarios]}
    assert (await admin.http.put("/default_models", json=body)).status_code == 200
    assert await available(*scenarios) == {model["model"]: [*before, *scenarios]}
    [shown] = [it for it in await models_of(admin) if it["model"] == model["model"]]
    assert shown["tags"] == [*before, *scenarios]
    kept = await admin.http.put(path, json={"tags": shown["tags"]})
    assert kept.json()["tags"] == shown["tags"], "sent back as it was shown"
    await admin.http.put("/default_models", json={"defaults": [{"scenario": it} for it in scenarios]})
    assert await available(scenarios[0]) == {}
    assert next(it for it in await models_of(admin) if it["model"] == model["model"])["tags"] == before


async def test_nobody_tags_a_model_of_theirs_as_a_default(mine: Any) -> None:
    tags = ["default_for_embedding", "fast"]
    made = await mine.http.post(MODELS, json={"api": "embedding", "model": "m", "tags": tags})
    changed = await mine.http.put(f"{MODELS}/embedding/m", json={"tags": tags})
    assert made.json()["tags"] == changed.json()["tags"] == ["fast"]


async def models_of(person: Any) -> list[dict[str, Any]]:
    return list((await person.http.get("/llm_configuration")).json()["models"])


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"provider_name": "mine", "model": "m"}, 400, "PROVIDER_NOT_PUBLIC"),
        ({"provider_name": "nobody", "model": "m"}, 400, "PROVIDER_NOT_PUBLIC"),
        ({"provider_name": "openai", "model": "no such"}, 404, "LLM_MODEL_NOT_FOUND"),
        ({"provider_name": "jina", "model": "jina-embeddings-v3"}, 404, "LLM_MODEL_NOT_FOUND"),
        ({"provider_name": "openai"}, 400, "INVALID_PARAMETER"),
    ],
)
async def test_a_default_is_a_model_that_everybody_may_use_for_it(
    wanted: dict[str, str], status: int, code: str, mine: Any, make_person: Callable[..., Awaitable[Any]]
) -> None:
    admin = await make_person("admin")
    body = {"defaults": [{"scenario": "default_for_agent_completion", **wanted}]}
    answer = await admin.http.put("/default_models", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


async def test_a_default_goes_with_its_model(make_person: Callable[..., Awaitable[Any]]) -> None:
    admin = await make_person("admin")
    wanted = {"scenario": "default_for_rerank", "provider_name": "alibabacloud", "model": "gte-rerank-v2"}
    await admin.http.put("/default_models", json={"defaults": [wanted]})
    await admin.http.delete("/llm_providers/alibabacloud/models/rerank/gte-rerank-v2")
    assert all(it["model"] is None for it in (await admin.http.get("/default_models")).json()["items"])
