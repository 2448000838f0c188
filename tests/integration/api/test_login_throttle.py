"""Wrong passwords: after a few of them even the right one has to wait, on every replica, and nobody else has to."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_api.edge.settings import GatewayHttp
from aperag_api.identity.settings import LoginSettings
from aperag_testing.refusals import DETAIL, misshapen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

Visitor = httpx.AsyncClient
MakeVisitor = Any

PASSWORD = "correct horse battery"
RIGHT = {"username": "alice", "password": PASSWORD}
WRONG = {"username": "alice", "password": "not this one"}


@pytest_asyncio.fixture
async def visitor(make_visitor: MakeVisitor) -> Visitor:
    visitor: Visitor = await make_visitor()
    assert (await visitor.post("/register", json=RIGHT)).status_code == 200
    return visitor


async def fail(visitor: Visitor, times: int, **body: str) -> list[int]:
    answers = [await visitor.post("/login", json={**WRONG, **body}) for _ in range(times)]
    return [answer.status_code for answer in answers]


async def execute(engine: AsyncEngine, sql: str) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql))


async def blocks(engine: AsyncEngine) -> list[tuple[int, int]]:
    """Failures and seconds of the longest block, most failures first."""
    async with engine.connect() as conn:
        found = await conn.execute(
            text(
                """
                SELECT failures, coalesce(round(extract(epoch FROM blocked_until - failed_at)), 0)::int
                FROM login_throttle ORDER BY failures DESC, 2 DESC
                """
            )
        )
        return [(row[0], row[1]) for row in found]


async def pass_block(engine: AsyncEngine) -> None:
    """As if its time had come."""
    await execute(engine, "UPDATE login_throttle SET blocked_until = clock_timestamp()")


async def test_after_five_wrong_passwords_the_right_one_has_to_wait(visitor: Visitor, engine: AsyncEngine) -> None:
    assert await fail(visitor, 5) == [400] * 5
    answer = await visitor.post("/login", json=RIGHT)
    assert misshapen(answer, 429, DETAIL) == []
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert "set-cookie" not in answer.headers
    await pass_block(engine)
    assert (await visitor.post("/login", json=RIGHT)).status_code == 200


async def test_each_further_failure_doubles_the_block_up_to_a_quarter_of_an_hour(
    visitor: Visitor, engine: AsyncEngine
) -> None:
    await fail(visitor, 4)
    seconds = []
    for _ in range(10):
        assert await fail(visitor, 1) == [400]
        seconds.append((await blocks(engine))[0][1])
        assert await fail(visitor, 1) == [429]
        await pass_block(engine)
    assert seconds == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]


async def test_tries_during_a_block_make_it_no_longer(visitor: Visitor, engine: AsyncEngine) -> None:
    await fail(visitor, 5)
    before = await blocks(engine)
    assert await fail(visitor, 10) == [429] * 10
    assert await blocks(engine) == before


async def test_a_right_password_forgets_the_failures_of_the_name(visitor: Visitor, engine: AsyncEngine) -> None:
    for _ in range(3):
        assert await fail(visitor, 4) == [400] * 4
        assert (await visitor.post("/login", json=RIGHT)).status_code == 200
    assert [failures for failures, _ in await blocks(engine)] == [12]  # of the address


async def test_failures_long_ago_count_no_longer(visitor: Visitor, engine: AsyncEngine) -> None:
    await fail(visitor, 4)
    await execute(engine, "UPDATE login_throttle SET failed_at = clock_timestamp() - interval '61 minutes'")
    assert await fail(visitor, 4) == [400] * 4
    assert (await visitor.post("/login", json=RIGHT)).status_code == 200


async def test_a_blocked_name_neither_ends_nor_hinders_its_sessions(
    visitor: Visitor, make_visitor: MakeVisitor
) -> None:
    await visitor.post("/login", json=RIGHT)
    attacker = await make_visitor("203.0.113.9")
    await fail(attacker, 5)
    assert (await visitor.get("/user")).status_code == 200
    assert (await visitor.post("/collections", json={"title": "still at work"})).status_code == 200


async def test_a_name_is_blocked_in_every_spelling_and_on_every_replica(
    visitor: Visitor, make_visitor: MakeVisitor, make_replica: Callable[[], Awaitable[Any]]
) -> None:
    other = await make_visitor("203.0.113.9", await make_replica())
    assert await fail(visitor, 3, username=" ALICE") == [400] * 3
    assert await fail(other, 2, username="Ａlice") == [400] * 2
    assert (await visitor.post("/login", json=RIGHT)).status_code == 429
    assert (await other.post("/login", json=RIGHT)).status_code == 429


async def test_a_name_that_does_not_exist_is_blocked_like_one_that_does(visitor: Visitor) -> None:
    assert await fail(visitor, 6, username="nobody") == [400] * 5 + [429]
    assert (await visitor.post("/login", json=RIGHT)).status_code == 200


async def test_of_many_tries_at_once_no_more_than_allowed_are_looked_at(visitor: Visitor) -> None:
    answers = await asyncio.gather(*(visitor.post("/login", json=WRONG) for _ in range(30)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(400), statuses.count(429)) == (5, 25)


async def test_one_address_that_tries_many_names_is_blocked_and_others_are_not(
    visitor: Visitor, make_visitor: MakeVisitor
) -> None:
    attacker = await make_visitor("203.0.113.9")
    statuses = [(await fail(attacker, 1, username=f"user{number}"))[0] for number in range(21)]
    assert statuses == [400] * 20 + [429]
    assert (await attacker.post("/login", json=RIGHT)).status_code == 429
    assert (await visitor.post("/login", json=RIGHT)).status_code == 200


async def test_addresses_of_one_ipv6_network_are_one(make_visitor: MakeVisitor, visitor: Visitor) -> None:
    for number in range(20):
        attacker = await make_visitor(f"2001:db8:1:2::{number:x}")
        assert await fail(attacker, 1, username=f"user{number}") == [400]
    assert await fail(await make_visitor("2001:db8:1:2:ffff::1"), 1, username="more") == [429]
    assert await fail(await make_visitor("2001:db8:1:3::1"), 1, username="more") == [400]


PROXY = {"http": GatewayHttp(trusted_proxies=("127.0.0.1",)), "login": LoginSettings(address_failures=2)}


@pytest.mark.parametrize("settings", [PROXY], indirect=True)
async def test_behind_a_trusted_proxy_the_client_is_counted_and_cannot_lie(visitor: Visitor) -> None:
    lies = ["10.9.9.9", "10.8.8.8", "nonsense"]
    statuses = []
    for number, lie in enumerate(lies):
        forwarded = {"x-forwarded-for": f"{lie}, 203.0.113.9"}
        answer = await visitor.post("/login", json={**WRONG, "username": f"user{number}"}, headers=forwarded)
        statuses.append(answer.status_code)
    assert statuses == [400, 400, 429]
    elsewhere = {"x-forwarded-for": "203.0.113.10"}
    assert (await visitor.post("/login", json=RIGHT, headers=elsewhere)).status_code == 200


UNTRUSTED = {"http": GatewayHttp(trusted_proxies=()), "login": LoginSettings(address_failures=2)}


@pytest.mark.parametrize("settings", [UNTRUSTED], indirect=True)
async def test_without_a_trusted_proxy_what_a_client_says_of_its_address_counts_nothing(visitor: Visitor) -> None:
    statuses = []
    for number in range(3):
        forwarded = {"x-forwarded-for": f"10.0.0.{number}"}
        answer = await visitor.post("/login", json={**WRONG, "username": f"user{number}"}, headers=forwarded)
        statuses.append(answer.status_code)
    assert statuses == [400, 400, 429]


async def test_neither_names_nor_addresses_can_be_read_from_the_table(visitor: Visitor, engine: AsyncEngine) -> None:
    import hashlib

    await fail(visitor, 1)
    async with engine.connect() as conn:
        stored = str((await conn.execute(text("SELECT id FROM login_throttle"))).all())
    assert "alice" not in stored
    for plain in ("alice", "login\0alice", "127.0.0.1", "address\000127.0.0.1"):
        assert hashlib.sha256(plain.encode()).hexdigest() not in stored


async def test_a_block_from_a_clock_that_ran_ahead_holds_nobody(visitor: Visitor, engine: AsyncEngine) -> None:
    await fail(visitor, 5)
    await execute(engine, "UPDATE login_throttle SET blocked_until = clock_timestamp() + interval '3 days'")
    assert (await visitor.post("/login", json=RIGHT)).status_code == 200


async def test_wrong_old_passwords_slow_down_changing_and_not_logging_in(
    visitor: Visitor, make_visitor: MakeVisitor
) -> None:
    await visitor.post("/login", json=RIGHT)
    body = {"username": "alice", "old_password": "not this one", "new_password": "a better password"}
    answers = [await visitor.post("/change-password", json=body) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [400] * 5 + [429]
    assert (await (await make_visitor()).post("/login", json=RIGHT)).status_code == 200


async def test_a_password_that_could_not_be_looked_at_is_no_failure(
    visitor: Visitor, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aperag_api.identity.accounts import passwords

    with monkeypatch.context() as patch:
        patch.setattr(passwords, "MOST_WAITING", 0)
        answers = [await visitor.post("/login", json=RIGHT) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [503] * 8
    assert all("retry-after" in answer.headers for answer in answers)
    assert {failures for failures, _ in await blocks(engine)} == {0}
    assert (await visitor.post("/login", json=RIGHT)).status_code == 200


@pytest.mark.parametrize("settings", [{"login": LoginSettings(first_block=timedelta(hours=1))}], indirect=True)
async def test_no_block_is_longer_than_the_longest(visitor: Visitor, engine: AsyncEngine) -> None:
    await fail(visitor, 5)
    assert (await blocks(engine))[0][1] == 900
