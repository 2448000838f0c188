"""Rights that end at one gateway end at every other one within a second, though each remembers for longer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import event, text

from aperag_api.edge.app import make_app, open_gateway
from aperag_common.health import Health
from aperag_common.services import Service
from aperag_testing.waiting import until
from aperag_work.dispatcher import Dispatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_api.edge.settings import Settings
    from aperag_common.bus.declared import Declared
    from aperag_work.runtime import Runtime

Person = Any
WITHIN = 1.0
KEPT = timedelta(seconds=4)

pytestmark = pytest.mark.parametrize("settings", [{"remembered_for": KEPT}], indirect=True)


@dataclass(frozen=True, slots=True)
class Replica:
    """Another gateway, which hears of what others do by events alone."""

    gateway: Gateway
    http: httpx.AsyncClient

    async def asked(self, person: Person, method: str, path: str, key: str = "", **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or person.key}"}
        return await self.http.request(method, path, headers=headers, **request)


@pytest_asyncio.fixture
async def replica(
    runtime: Runtime, settings: Settings, gateway: Gateway, declared: Callable[[Service], Declared]
) -> AsyncIterator[Replica]:
    dispatcher = Dispatcher(runtime.bus, runtime.database, runtime.metrics, declared(Service.API))
    own = replace(runtime, health=Health(), dispatcher=dispatcher)
    async with open_gateway(own, settings) as other:
        transport = httpx.ASGITransport(make_app(other, own, settings), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://replica/api/v1", timeout=20) as http:
            await gateway.operations.feed.known(seconds=10)
            await other.operations.feed.known(seconds=10)
            yield Replica(other, http)
    await dispatcher.close()


@pytest.fixture
def looks(engine: AsyncEngine) -> Iterator[list[str]]:
    """Statements that look for a key."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM api_key" in statement:
            seen.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine.sync_engine, "before_cursor_execute", note)


async def answers(status: int, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
    async def answered() -> bool:
        return (await ask()).status_code == status

    await until(answered, within=WITHIN)


async def another_key(person: Person, **body: Any) -> dict[str, Any]:
    made = await person.http.post("/apikeys", json=body)
    assert made.status_code == 200, made.text
    return dict(made.json())


async def test_a_key_is_looked_up_once(alice: Person, looks: list[str]) -> None:
    for _ in range(3):
        assert (await alice.http.get("/collections")).status_code == 200
    assert len(looks) == 1


async def test_a_revoked_key_stops_at_every_gateway(alice: Person, replica: Replica) -> None:
    made = await another_key(alice)
    here = {"Authorization": f"Bearer {made['key']}"}
    assert (await alice.http.get("/collections", headers=here)).status_code == 200
    assert (await replica.asked(alice, "GET", "/collections", made["key"])).status_code == 200
    assert (await alice.http.delete(f"/apikeys/{made['id']}")).json() is True
    assert (await alice.http.get("/collections", headers=here)).status_code == 401
    await answers(401, lambda: replica.asked(alice, "GET", "/collections", made["key"]))


async def test_a_deleted_user_is_known_nowhere(
    make_person: Callable[..., Awaitable[Person]], mallory: Person, replica: Replica
) -> None:
    admin = await make_person("admin")
    collection = await mallory.collection()
    for gateway in (mallory.http.get("/collections"), replica.asked(mallory, "GET", "/collections")):
        assert (await gateway).status_code == 200
    search = {"query": "tea", "fulltext_search": {}}
    assert (await replica.asked(mallory, "POST", f"/collections/{collection}/searches", json=search)).status_code == 200
    assert (await admin.http.delete(f"/users/{mallory.id}")).status_code == 200
    assert (await mallory.http.get("/collections")).status_code == 401
    await answers(401, lambda: replica.asked(mallory, "GET", "/collections"))


async def test_a_collection_that_is_taken_back_is_searched_by_nobody_else(
    alice: Person, mallory: Person, replica: Replica
) -> None:
    collection = await alice.collection()
    searches, search = f"/collections/{collection}/searches", {"query": "tea", "fulltext_search": {}}
    assert (await alice.http.post(f"/collections/{collection}/sharing")).status_code < 300
    assert (await mallory.http.post(searches, json=search)).status_code == 200
    assert (await replica.asked(mallory, "POST", searches, json=search)).status_code == 200
    assert (await alice.http.delete(f"/collections/{collection}/sharing")).status_code < 300
    assert (await mallory.http.post(searches, json=search)).status_code == 404
    await answers(404, lambda: replica.asked(mallory, "POST", searches, json=search))


async def test_a_deleted_collection_is_gone_everywhere(alice: Person, replica: Replica) -> None:
    collection = await alice.collection()
    searches, search = f"/collections/{collection}/searches", {"query": "tea", "fulltext_search": {}}
    assert (await alice.http.post(searches, json=search)).status_code == 200
    assert (await replica.asked(alice, "POST", searches, json=search)).status_code == 200
    assert (await alice.http.delete(f"/collections/{collection}")).status_code == 200
    assert (await alice.http.post(searches, json=search)).status_code == 404
    await answers(404, lambda: replica.asked(alice, "POST", searches, json=search))


async def test_changed_settings_of_a_collection_hold_everywhere(alice: Person, replica: Replica) -> None:
    """A document gets the indexes that the collection wants when it is uploaded, whichever gateway takes it."""
    collection = await alice.collection()
    numbers = iter(range(1000))

    async def wanted(upload: Callable[[list[Any]], Awaitable[httpx.Response]]) -> str:
        files = [("files", (f"{next(numbers)}.txt", b"tea"))]
        return str((await upload(files)).json()["items"][0]["vector_index_status"])

    async def here(files: list[Any]) -> httpx.Response:
        return await alice.http.post(f"/collections/{collection}/documents", files=files)

    async def there(files: list[Any]) -> httpx.Response:
        return await replica.asked(alice, "POST", f"/collections/{collection}/documents", files=files)

    assert [await wanted(here), await wanted(there)] == ["PENDING", "PENDING"]
    changed = {"title": "Tea", "description": "", "config": {"source": "system", "enable_vector": False}}
    assert (await alice.http.put(f"/collections/{collection}", json=changed)).status_code == 200
    assert await wanted(here) == "SKIPPED"

    async def changed_there() -> bool:
        return await wanted(there) == "SKIPPED"

    await until(changed_there, within=WITHIN)


async def test_no_memory_makes_a_key_last_longer(alice: Person) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=2)
    made = await another_key(alice, expires_at=ends.isoformat())
    here = {"Authorization": f"Bearer {made['key']}"}
    assert (await alice.http.get("/collections", headers=here)).status_code == 200

    async def ended() -> bool:
        return (await alice.http.get("/collections", headers=here)).status_code == 401

    await until(ended, within=2 + WITHIN)


async def test_without_an_event_a_memory_ends_by_itself(alice: Person, engine: AsyncEngine) -> None:
    """As while NATS is away: nobody hears of the change."""
    assert (await alice.http.get("/collections")).status_code == 200
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE api_key SET deleted_at = now() WHERE owner = :id"), {"id": alice.id})

    async def ended() -> bool:
        return (await alice.http.get("/collections")).status_code == 401

    await until(ended, within=KEPT.total_seconds() + WITHIN)
