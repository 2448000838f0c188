"""Calls to providers: what they are asked, what is made of their answers, and what is said when they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_testing.provider import KEY, Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_models.catalog import Models
    from aperag_testing.provider import Provider

MODEL = "stub/a/model"
USER = "user0000000000000000"


async def test_embeddings_are_unit_rows_in_the_order_of_the_texts(
    models: Models, provider: Provider, add_provider: Callable[..., Awaitable[None]]
) -> None:
    await add_provider(provider.url)
    texts = [f"text number {number}" for number in range(25)]
    rows = await (await models.embedder(USER, MODEL)).embed(texts)
    expected = np.array([provider.vector(it) for it in texts])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(rows, expected, atol=1e-6)
    asked = provider.to("/v1/embeddings")
    assert sorted(len(it.body["input"]) for it in asked) == [1, 5, 10, 10]
    assert {it.body["model"] for it in asked} == {"a/model"}
    assert {it.headers["authorization"] for it in asked} == {f"Bearer {KEY}"}


async def test_how_long_embeddings_are_is_asked_once_for_all_processes(
    make_models: Callable[..., Models],
    provider: Provider,
    add_provider: Callable[..., Awaitable[None]],
    engine: AsyncEngine,
) -> None:
    await add_provider(provider.url)
    assert (await make_models().embedder(USER, MODEL)).dimensions == 8
    assert (await make_models().embedder(USER, MODEL)).dimensions == 8
    assert len(provider.asked) == 1
    async with engine.connect() as conn:
        stored = await conn.execute(
            text("SELECT dimensions FROM llm_model WHERE provider_name = 'stub' AND api = 'embedding'")
        )
        assert stored.scalar_one() == 8


async def test_a_model_that_became_another_one_is_refused(
    models: Models, provider: Provider, add_provider: Callable[..., Awaitable[None]]
) -> None:
    await add_provider(provider.url)
    embedder = await models.embedder(USER, MODEL)
    provider.dimensions = 16
    with pytest.raises(errors.Terminal, match="vectors of 16 numbers, and had 8 before"):
        await embedder.embed(["tea"])


@pytest.mark.parametrize("dialect", ["jina_ai", "cohere", "alibabacloud"])
async def test_reranking_names_the_best_first_in_every_dialect(
    dialect: str, models: Models, provider: Provider, add_provider: Callable[..., Awaitable[None]]
) -> None:
    await add_provider(provider.url, dialect=dialect)
    ranked = await models.rerank(USER, MODEL, "green tea", ["coffee", "green tea here", "some tea"], 2)
    assert [(it.index, it.score) for it in ranked] == [(1, 1.0), (2, 0.5)]
    assert provider.asked[0].path == (
        "/api/v1/services/rerank/text-rerank/text-rerank" if dialect == "alibabacloud" else "/v1/rerank"
    )


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (
            Reply(status=401, message=f"Incorrect API key {KEY}"),
            errors.Terminal,
            r'refuses the API key.*"Incorrect API key \*\*\*"',
        ),
        (Reply(status=402), errors.Terminal, "has nothing left"),
        (Reply(status=404), errors.Terminal, "knows no model a/model"),
        (Reply(status=400, message="input too long"), errors.Terminal, 'status 400.*"input too long"'),
        (Reply(body=b"<html>"), errors.Terminal, "is no JSON"),
        (Reply(body=b"[1]"), errors.Terminal, "is no JSON object"),
        (Reply(body=b'{"data": []}'), errors.Terminal, "is not one vector for each of 1 texts"),
        (Reply(body=b'{"data": [{"index": 0, "embedding": []}]}'), errors.Terminal, "is not one vector"),
        (Reply(body=b'{"data": [{"index": 0, "embedding": [0, 0]}]}'), errors.Terminal, "without length or direction"),
        (Reply(body=b'{"data": [{"index": 0, "embedding": ["x"]}]}'), errors.Terminal, "is not one vector"),
        (Reply(status=302, headers={"location": "http://127.0.0.1:1/"}, body=b""), errors.Terminal, "status 302"),
        (Reply(body=b"x", headers={"content-encoding": "gzip"}), errors.Retryable, "broke off"),
        (Reply(status=429, headers={"retry-after": "400"}), errors.RateLimited, "takes no more requests now"),
        (Reply(status=503), errors.UpstreamUnavailable, "answered with the status 503"),
    ],
)
async def test_what_a_provider_refuses_is_said_in_words_and_without_the_key(
    reply: Reply,
    kind: type[Exception],
    said: str,
    models: Models,
    provider: Provider,
    add_provider: Callable[..., Awaitable[None]],
) -> None:
    await add_provider(provider.url)
    provider.failures.extend([reply] * 3)
    with pytest.raises(kind, match=said) as raised:
        await models.embedder(USER, MODEL)
    assert KEY not in str(raised.value)


async def test_who_does_not_listen_is_unreachable(models: Models, add_provider: Callable[..., Awaitable[None]]) -> None:
    await add_provider("http://127.0.0.1:1/v1")
    with pytest.raises(errors.UpstreamUnavailable, match="The provider stub cannot be reached"):
        await models.embedder(USER, MODEL)


async def test_a_private_address_is_not_asked_unless_settings_allow_it(
    make_models: Callable[..., Models], provider: Provider, add_provider: Callable[..., Awaitable[None]]
) -> None:
    await add_provider(provider.url)
    with pytest.raises(errors.Terminal, match="not on the public internet"):
        await make_models(allow=()).embedder(USER, MODEL)
    assert provider.asked == []


async def test_what_cannot_be_called_says_what_is_missing(
    models: Models, provider: Provider, add_provider: Callable[..., Awaitable[None]], engine: AsyncEngine
) -> None:
    await add_provider(provider.url, key=None)
    with pytest.raises(errors.ProviderKeyMissing, match="Provider stub has no API key. Enter one"):
        await models.embedder(USER, MODEL)
    with pytest.raises(errors.ModelNotFound, match="has no rerank model another"):
        await models.rerank(USER, "stub/another", "q", ["d"], 1)
    with pytest.raises(errors.ProviderNotFound, match="Provider nobody not found"):
        await models.embedder(USER, "nobody/x")
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE llm_provider SET user_id = 'someone else', api_key = 'v1.00000000.AAAA'"))
    with pytest.raises(errors.ProviderNotFound, match="Provider stub not found"):
        await models.embedder(USER, MODEL)
    with pytest.raises(errors.ProviderKeyMissing, match="cannot be read: enter it again"):
        await models.embedder("someone else", MODEL)
