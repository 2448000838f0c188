"""Settings of the installation: administrators only, their secrets encrypted and masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_testing.site import open_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.settings import Settings
    from aperag_testing.site import Site

Person = Any

TOKEN = "eyJ0eXBlIjoiSldUIn0-a-token-of-mineru-9f3c"
MASKED = "****9f3c"
NO_TASK = "/api/v4/extract/task/00000000-0000-0000-0000-000000000000"


@pytest_asyncio.fixture
async def mineru() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


@pytest.fixture
def settings(settings: Settings, mineru: Site) -> Settings:
    outbound = settings.outbound.model_copy(update={"allow": ("127.0.0.1",)})
    return settings.model_copy(update={"mineru_url": mineru.url, "outbound": outbound})


@pytest_asyncio.fixture
async def admin(make_person: Callable[..., Awaitable[Person]]) -> Person:
    return await make_person("admin")


async def stored(engine: AsyncEngine) -> dict[str, Any]:
    async with engine.connect() as conn:
        rows = await conn.execute(text("SELECT name, value, encrypted FROM setting WHERE name NOT LIKE '%quotas'"))
        return {row.name: (row.value, row.encrypted) for row in rows}


async def test_nothing_is_set_at_first(admin: Person) -> None:
    assert (await admin.http.get("/settings")).json() == {
        "use_mineru": False, "mineru_api_token": None, "use_doc_ray": False, "use_markitdown": True,
    }  # fmt: skip


async def test_what_is_null_stays_and_the_rest_is_kept(admin: Person) -> None:
    changed = await admin.http.put("/settings", json={"use_mineru": True, "mineru_api_token": TOKEN})
    assert (changed.status_code, changed.content) == (204, b"")
    await admin.http.put("/settings", json={"use_mineru": None, "use_markitdown": False})
    assert (await admin.http.get("/settings")).json() == {
        "use_mineru": True, "mineru_api_token": MASKED, "use_doc_ray": False, "use_markitdown": False,
    }  # fmt: skip


async def test_the_token_stands_encrypted_and_is_never_told(admin: Person, engine: AsyncEngine) -> None:
    await admin.http.put("/settings", json={"mineru_api_token": TOKEN})
    value, encrypted = (await stored(engine))["mineru_api_token"]
    assert encrypted
    assert TOKEN not in value
    assert TOKEN not in (await admin.http.get("/settings")).text
    short = await admin.http.put("/settings", json={"mineru_api_token": "short"})
    assert short.status_code == 204
    assert (await admin.http.get("/settings")).json()["mineru_api_token"] == "****"


async def test_a_masked_token_sent_back_keeps_the_stored_one_and_an_empty_one_forgets_it(
    admin: Person, engine: AsyncEngine
) -> None:
    await admin.http.put("/settings", json={"mineru_api_token": TOKEN})
    before = await stored(engine)
    whole = (await admin.http.get("/settings")).json()
    await admin.http.put("/settings", json=whole)
    assert (await stored(engine))["mineru_api_token"] == before["mineru_api_token"]
    await admin.http.put("/settings", json={"mineru_api_token": ""})
    assert (await admin.http.get("/settings")).json()["mineru_api_token"] is None
    assert "mineru_api_token" not in await stored(engine)


@pytest.mark.parametrize("body", [{"use_mineru": "perhaps"}, {"nope": 1}, {"mineru_api_token": "x" * 5000}, []])
async def test_what_is_no_setting_is_refused(admin: Person, body: Any) -> None:
    assert (await admin.http.put("/settings", json=body)).status_code == 422


async def test_only_administrators_see_and_change_settings(alice: Person) -> None:
    asked = [
        await alice.http.get("/settings"),
        await alice.http.put("/settings", json={"use_mineru": True}),
        await alice.http.post("/settings/test_mineru_token", json={"token": TOKEN}),
    ]
    assert [answer.status_code for answer in asked] == [403, 403, 403]


async def test_mineru_is_asked_with_the_token_given_or_with_the_stored_one(admin: Person, mineru: Site) -> None:
    mineru.page(NO_TASK, '{"code": -60012, "msg": "task not found"}', "application/json")
    told = {"status_code": 200, "data": {"code": -60012, "msg": "task not found"}}
    await admin.http.put("/settings", json={"mineru_api_token": TOKEN})
    for body in ({"token": "another-token"}, {}, {"token": MASKED}):
        answer = await admin.http.post("/settings/test_mineru_token", json=body)
        assert answer.json() == told
    asked = [request.headers["authorization"] for request in mineru.asked]
    assert asked == ["Bearer another-token", f"Bearer {TOKEN}", f"Bearer {TOKEN}"]


async def test_without_any_token_there_is_nothing_to_ask_with(admin: Person, alice: Person, mineru: Site) -> None:
    answer = await admin.http.post("/settings/test_mineru_token", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, -1)
    assert (await alice.http.post("/collections/test-mineru-token", json={})).status_code == 400
    assert mineru.asked == []


async def test_what_mineru_answers_is_told_without_the_token(alice: Person, mineru: Site) -> None:
    mineru.page(NO_TASK, f"<p>unknown token {TOKEN}</p>", status=401)
    answer = await alice.http.post("/collections/test-mineru-token", json={"token": TOKEN})
    assert answer.json() == {"status_code": 401, "data": "<p>unknown token ****</p>"}


@pytest.mark.parametrize("token", ["a\r\nX-Header: b", "Türöffner", "a\tb"])
async def test_a_token_that_no_header_can_carry_is_refused(alice: Person, mineru: Site, token: str) -> None:
    answer = await alice.http.post("/collections/test-mineru-token", json={"token": token})
    assert answer.status_code == 400
    assert mineru.asked == []


async def test_a_mineru_that_does_not_answer_is_told_as_such(alice: Person, mineru: Site) -> None:
    mineru.redirect(NO_TASK, "http://169.254.169.254/")
    answer = await alice.http.post("/collections/test-mineru-token", json={"token": TOKEN})
    assert (answer.status_code, answer.json()["error_code"]) == (503, "UPSTREAM_UNAVAILABLE")
    assert TOKEN not in answer.text
