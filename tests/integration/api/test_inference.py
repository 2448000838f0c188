"""Embeddings and reranking over the gateway, with a provider that the tests script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from aperag_common.outbound.settings import OutboundSettings
from aperag_testing.provider import KEY, Provider, Reply, providing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.parametrize(
    "settings", [{"outbound": OutboundSettings(allow=("127.0.0.1",))}], indirect=True, ids=["loopback"]
)


@pytest_asyncio.fixture
async def provider(alice: Any) -> AsyncIterator[Provider]:
    """Alice's, with an embedding and a rerank model."""
    async with providing() as provider:
        body = {"name": "stub", "label": "Stub", "base_url": provider.url, "api_key": KEY}
        assert (await alice.http.post("/llm_providers", json=body)).status_code == 200
        for api in ("embedding", "rerank"):
            answer = await alice.http.post("/llm_providers/stub/models", json={"api": api, "model": "m"})
            assert answer.status_code == 200
        yield provider


async def test_embeddings_in_the_contracts_shape(alice: Any, provider: Provider) -> None:
    body = {"provider": "stub", "model": "m", "input": ["green tea", "coffee"]}
    answer = await alice.http.post("/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["object"], found["model"]) == ("list", "m")
    assert found["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert [(it["object"], it["index"], len(it["embedding"])) for it in found["data"]] == [
        ("embedding", 0, 8),
        ("embedding", 1, 8),
    ]
    one = await alice.http.post("/embeddings", json={**body, "input": "coffee"})
    assert one.json()["data"][0]["embedding"] == pytest.approx(found["data"][1]["embedding"])
    assert provider.asked[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_the_built_in_model_needs_no_provider(alice: Any) -> None:
    body = {"provider": "local", "model": "use-multilingual-v3", "input": "차"}
    answer = await alice.http.post("/embeddings", json=body)
    assert len(answer.json()["data"][0]["embedding"]) == 512


async def test_reranking_in_the_contracts_shape(alice: Any, provider: Provider) -> None:
    documents = ["coffee", {"text": "green tea", "metadata": {"page": 3}}]
    body = {"provider": "stub", "model": "m", "query": "green tea", "documents": documents}
    found = (await alice.http.post("/rerank", json=body)).json()
    assert found == {
        "object": "list",
        "data": [
            {"index": 1, "relevance_score": 1.0, "document": {"text": "green tea", "metadata": {"page": 3}}},
            {"index": 0, "relevance_score": 0.0, "document": {"text": "coffee", "metadata": None}},
        ],
        "model": "m",
        "usage": {"total_tokens": 5},
    }
    bare = (await alice.http.post("/rerank", json={**body, "top_k": 1, "return_documents": False})).json()
    assert bare["data"] == [{"index": 1, "relevance_score": 1.0, "document": None}]


@pytest.mark.parametrize(
    ("path", "change", "status", "code"),
    [
        ("/embeddings", {"input": []}, 400, "INVALID_PARAMETER"),
        ("/embeddings", {"input": " "}, 400, "INVALID_PARAMETER"),
        ("/embeddings", {"input": ["tea", ""]}, 400, "INVALID_PARAMETER"),
        ("/embeddings", {"provider": "openai", "model": "text-embedding-3-small"}, 400, "PROVIDER_KEY_MISSING"),
        ("/embeddings", {"provider": "nobody"}, 400, "LLM_PROVIDER_NOT_FOUND"),
        ("/embeddings", {"provider": "local"}, 404, "LLM_MODEL_NOT_FOUND"),
        ("/embeddings", {"model": "another"}, 404, "LLM_MODEL_NOT_FOUND"),
        ("/rerank", {"documents": []}, 400, "INVALID_PARAMETER"),
        ("/rerank", {"query": ""}, 400, "INVALID_PARAMETER"),
        ("/rerank", {"provider": "local"}, 404, "LLM_MODEL_NOT_FOUND"),
        ("/rerank", {"top_k": 0}, 422, None),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    path: str, change: dict[str, Any], status: int, code: str | None, alice: Any, provider: Provider
) -> None:
    body = {"provider": "stub", "model": "m", "input": "tea", "query": "tea", "documents": ["tea"], **change}
    answer = await alice.http.post(path, json=body)
    assert answer.status_code == status, answer.text
    if code is not None:
        assert answer.json()["error_code"] == code


@pytest.mark.parametrize(
    ("reply", "status", "code", "said"),
    [
        (Reply(status=401, message=f"bad key {KEY}"), 400, "MODEL_REFUSED", "refuses the API key"),
        (Reply(status=503), 503, "UPSTREAM_UNAVAILABLE", "Try again later"),
        (Reply(status=429, headers={"retry-after": "77"}), 503, "RATE_LIMITED", "takes no more requests"),
    ],
)
async def test_what_the_provider_refuses_is_said(
    reply: Reply, status: int, code: str, said: str, alice: Any, provider: Provider
) -> None:
    provider.failures.extend([reply] * 3)
    answer = await alice.http.post("/embeddings", json={"provider": "stub", "model": "m", "input": "tea"})
    assert (answer.status_code, answer.json()["error_code"]) == (status, code), answer.text
    assert said in answer.json()["message"]
    assert KEY not in answer.text
    if code == "RATE_LIMITED":
        assert int(answer.headers["retry-after"]) > 60


async def test_anothers_provider_is_not_to_be_called(mallory: Any, provider: Provider) -> None:
    answer = await mallory.http.post("/embeddings", json={"provider": "stub", "model": "m", "input": "tea"})
    assert answer.json()["error_code"] == "LLM_PROVIDER_NOT_FOUND"
    assert provider.asked == []
