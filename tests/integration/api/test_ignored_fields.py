"""Optional fields and filters that are null, empty or invalid where the contract does not look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aperag_api.conversation.turns.schemas import AgentMessage
from aperag_api.kernel.model_spec import ModelSpec
from aperag_api.knowledge.collections.schemas import CollectionConfig, CollectionCreate
from aperag_api.knowledge.searches.schemas import SearchIn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import BaseModel

Person = Any

REQUIRED: dict[type[BaseModel], dict[str, Any]] = {
    AgentMessage: {"query": "How long?"},
    CollectionConfig: {},
    CollectionCreate: {"title": "Tea"},
    ModelSpec: {},
    SearchIn: {"query": "tea"},
}


@pytest.mark.parametrize("model", REQUIRED)
def test_a_null_is_as_good_as_absent(model: type[BaseModel]) -> None:
    required, never_null = REQUIRED[model], getattr(model, "NEVER_NULL", frozenset())
    nulls = {name: None for name in model.model_fields if name not in required and name not in never_null}
    assert model.model_validate({**nulls, **required}) == model.model_validate(required)


async def test_a_collection_is_made_and_searched_with_every_optional_field_null(alice: Person) -> None:
    config = {"enable_vector": None, "language": None, "embedding": None, "knowledge_graph_config": None}
    body = {"title": "Tea", "description": None, "type": None, "config": config, "source": None}
    made = await alice.http.post("/collections", json=body)
    assert (made.status_code, made.json()["type"], made.json()["description"]) == (200, "document", "")
    assert (made.json()["config"]["enable_vector"], made.json()["config"]["language"]) == (True, "zh-CN")
    search = {
        "query": "tea",
        "vector_search": {"topk": None},
        "save_to_history": None,
        "rerank": None,
        "wait_for": None,
    }
    found = await alice.http.post(f"/collections/{made.json()['id']}/searches", json=search)
    assert (found.status_code, found.json()["vector_search"]["topk"]) == (200, 5)
    assert found.json()["id"] is not None, "it is kept in the history unless somebody says otherwise"


async def test_a_config_is_never_replaced_by_nothing(alice: Person) -> None:
    collection = await alice.collection(language="ko-KR")
    answer = await alice.http.put(f"/collections/{collection}", json={"title": "Tea", "config": None})
    assert answer.status_code == 422
    assert (await alice.http.get(f"/collections/{collection}")).json()["config"]["language"] == "ko-KR"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/apikeys", {"scope": None}),
        ("/admin/dead-letters/redrive", {"all": True, "dry_run": None}),
        ("/admin/dead-letters/purge", {"all": None}),
    ],
)
async def test_a_null_never_means_the_default_that_does_or_allows_more(
    make_person: Callable[..., Awaitable[Person]], path: str, body: dict[str, Any]
) -> None:
    assert (await (await make_person("admin")).http.post(path, json=body)).status_code == 422


FILTERS = (
    "/audit-logs?user_id=&search=&start_date=&status_code=",
    "/quotas?search=&user_id=",
    "/llm_provider_models?provider_name=",
    "/prompts/system?type=",
    "/admin/dead-letters?code=&step=&owner=&collection_id=&document_id=&redriven=&since=&until=",
)


@pytest.mark.parametrize("path", FILTERS)
async def test_a_filter_that_nobody_filled_in_is_none(make_person: Callable[..., Awaitable[Person]], path: str) -> None:
    admin = await make_person("admin")
    unfilled, without = await admin.http.get(path), await admin.http.get(path.partition("?")[0])
    assert (unfilled.status_code, unfilled.json()) == (200, without.json())


async def test_what_is_said_beside_a_judgement_that_is_taken_back_is_ignored(alice: Person) -> None:
    bot = (await alice.http.post("/bots", json={})).json()["id"]
    chat = (await alice.http.post(f"/bots/{bot}/chats")).json()["id"]
    body = {"type": None, "tag": "Splendid", "message": 7}
    answer = await alice.http.post(f"/bots/{bot}/chats/{chat}/messages/m1", json=body)
    assert answer.json()["error_code"] == "MESSAGE_NOT_FOUND", "the body was taken"


async def test_the_consoles_way_to_ask_answers_200_whatever_its_query_says(alice: Person) -> None:
    bot = (await alice.http.post("/bots", json={})).json()["id"]
    for query, said in (
        ({"stream": "perhaps"}, "bot_id is required"),
        ({"bot_id": "b" * 100}, "Bot not found"),
        ({"bot_id": bot, "chat_id": "c" * 100}, f"Chat {'c' * 100} not found"),
    ):
        answer = await alice.http.post("/chat/completions/frontend", params=query, content="hello")
        assert (answer.status_code, answer.json()["type"], answer.json()["data"]) == (200, "error", said)
    named = await alice.http.post(
        "/chat/completions/frontend", params={"bot_id": bot}, content="hello", headers={"msg_id": "m" * 100}
    )
    assert (named.status_code, named.json()["type"]) == (200, "error")
