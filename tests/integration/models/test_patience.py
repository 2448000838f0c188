"""How often and how many at a time providers are asked: counted over all processes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_models import repository, slots
from aperag_models.refs import ModelRef
from aperag_models.slots import Slots
from aperag_testing.provider import Reply
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_models.catalog import Models
    from aperag_testing.provider import Provider

MODEL = "stub/a/model"
USER = "user0000000000000000"


async def held(engine: AsyncEngine) -> int:
    async with engine.connect() as conn:
        found = await conn.execute(text("SELECT count(*) FROM provider_slot WHERE held_until > clock_timestamp()"))
        return int(found.scalar_one())


@pytest.mark.parametrize(
    "failure",
    [Reply(status=500), Reply(status=503), Reply(status=429, headers={"retry-after": "0"}), Reply(status=429)],
)
async def test_a_passing_failure_is_not_noticed(
    failure: Reply,
    models: Models,
    provider: Provider,
    add_provider: Callable[..., Awaitable[None]],
    engine: AsyncEngine,
) -> None:
    await add_provider(provider.url)
    provider.failures.append(failure)
    assert (await models.embedder(USER, MODEL)).dimensions == 8
    assert len(provider.asked) == 2
    assert await held(engine) == 0


async def test_what_an_answer_was_begun_of_is_not_asked_for_again(
    models: Models, provider: Provider, add_provider: Callable[..., Awaitable[None]], engine: AsyncEngine
) -> None:
    await add_provider(provider.url)
    provider.replies.append(Reply(["It ", "is ", "so."], cut=2))
    endpoint = await models.completion(USER, ModelRef.parse(MODEL))
    assert endpoint is not None
    seen = b""
    body = {"model": endpoint.model, "messages": [], "stream": True}
    with pytest.raises(Exception, match="peer closed connection"):
        async with endpoint.http.stream("POST", f"{endpoint.base_url}/chat/completions", json=body) as answer:
            async for data in answer.aiter_bytes():
                seen += data
    assert b"It " in seen
    assert len(provider.asked) == 1
    assert await held(engine) == 0


async def test_a_slot_is_held_until_the_stream_is_over_or_let_go(
    models: Models, provider: Provider, add_provider: Callable[..., Awaitable[None]], engine: AsyncEngine
) -> None:
    await add_provider(provider.url)
    endpoint = await models.completion(USER, ModelRef.parse(MODEL))
    assert endpoint is not None
    gate = asyncio.Event()
    provider.replies.append(Reply(["It ", "is ", "so."], gate=gate))
    body = {"model": endpoint.model, "messages": [], "stream": True}
    async with endpoint.http.stream("POST", f"{endpoint.base_url}/chat/completions", json=body) as answer:
        await anext(answer.aiter_bytes())
        assert await held(engine) == 1
    assert await held(engine) == 0
    gate.set()


async def test_all_processes_share_the_slots_of_a_provider(
    make_models: Callable[..., Models], provider: Provider, add_provider: Callable[..., Awaitable[None]]
) -> None:
    """Two catalogs, as of two processes: they share nothing but the database."""
    await add_provider(provider.url)
    first, second = make_models(slots=3), make_models(slots=3)
    go = asyncio.Event()
    provider.decide = lambda _: Reply(["so"], hold=go)

    async def call(models: Models) -> None:
        endpoint = await models.completion(USER, ModelRef.parse(MODEL))
        assert endpoint is not None
        answer = await endpoint.http.post(f"{endpoint.base_url}/chat/completions", json={"model": "m", "messages": []})
        assert answer.status_code == 200

    async def three() -> bool:
        return provider.under_way == 3

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(call(first if number % 2 else second))
        await until(three)
        go.set()
    assert provider.most == 3
    assert len(provider.asked) == 12


async def test_a_provider_that_asks_for_patience_is_left_alone_by_all(
    make_models: Callable[..., Models], provider: Provider, add_provider: Callable[..., Awaitable[None]]
) -> None:
    await add_provider(provider.url)
    first, second = make_models(), make_models(wait=timedelta(seconds=0.2))
    embedder = await first.embedder(USER, MODEL)
    provider.failures.append(Reply(status=429, headers={"retry-after": "300"}))
    with pytest.raises(errors.RateLimited):
        await embedder.embed(["tea"])
    asked = len(provider.asked)
    with pytest.raises(errors.RateLimited, match="takes no more requests now") as raised:
        await (await second.embedder(USER, MODEL)).embed(["tea"])
    assert raised.value.retry_after is not None
    assert raised.value.retry_after > timedelta(seconds=200)
    assert len(provider.asked) == asked


async def test_who_finds_no_slot_in_time_is_told_so(
    make_models: Callable[..., Models],
    provider: Provider,
    add_provider: Callable[..., Awaitable[None]],
    engine: AsyncEngine,
) -> None:
    await add_provider(provider.url)
    models = make_models(slots=1, wait=timedelta(seconds=0.2))
    async with engine.begin() as conn:
        await repository.open_slots(conn, "stub", 1)
        await repository.take_slot(conn, "stub", "of another", slots=1, lease=timedelta(minutes=1))
    with pytest.raises(errors.RateLimited, match="All 1 slots of the provider stub stayed taken"):
        await models.embedder(USER, MODEL)
    assert provider.asked == []


async def test_the_slots_of_a_process_that_died_come_back(
    models: Models, provider: Provider, add_provider: Callable[..., Awaitable[None]], engine: AsyncEngine
) -> None:
    await add_provider(provider.url)
    async with engine.begin() as conn:
        await repository.open_slots(conn, "stub", 8)
        for number in range(8):
            await repository.take_slot(conn, "stub", f"dead {number}", slots=8, lease=timedelta(seconds=0.5))
    assert (await models.embedder(USER, MODEL)).dimensions == 8


async def test_a_long_call_keeps_its_slot(
    engine: AsyncEngine, add_provider: Callable[..., Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_provider("http://127.0.0.1:1")
    monkeypatch.setattr(slots, "LEASE", timedelta(seconds=1.5))
    monkeypatch.setattr(slots, "RENEWED_EVERY", 0.1)
    mine = Slots(engine, 1)
    token = await mine.take("stub", until=float("inf"))

    async def renewed() -> bool:
        async with engine.connect() as conn:
            found = await conn.execute(
                text("SELECT held_until - now() > interval '1.2 s' FROM provider_slot WHERE token = :token"),
                {"token": token},
            )
            return bool(found.scalar_one())

    async with engine.begin() as conn:
        await conn.execute(text("UPDATE provider_slot SET held_until = now() + interval '1 s' WHERE token IS NOT NULL"))
    await until(renewed)
    await mine.free("stub", token)
    assert await held(engine) == 0
    await mine.close()


async def test_a_provider_that_was_made_anew_has_slots_again(
    engine: AsyncEngine, add_provider: Callable[..., Awaitable[None]]
) -> None:
    await add_provider("http://127.0.0.1:1")
    mine = Slots(engine, 1)
    await mine.free("stub", await mine.take("stub", until=float("inf")))
    async with engine.begin() as conn:
        await conn.execute(text("DELETE FROM llm_provider WHERE name = 'stub'"))
    await add_provider("http://127.0.0.1:1")
    await mine.free("stub", await mine.take("stub", until=float("inf")))
    await mine.close()
