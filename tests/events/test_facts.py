"""Every fact is published: what causes it is done over the public API, and the event is read from its stream."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from aperag_api.operations.events.reader import OrderedReader
from aperag_common import subjects
from aperag_common.events import accounts, facts, ingests, turns, webhooks
from aperag_common.events.ingest import STRUCTURED, UPSERT
from aperag_testing.client import Client
from aperag_testing.conversation import Talk, offer
from aperag_testing.provider import Provider, Reply, providing
from aperag_testing.site import Site, open_site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aperag_common.bus.connection import Bus
    from aperag_common.events.fact import Fact
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(120)

WITHIN = 60.0
CORRUPT = b"PK\x03\x04 is no archive"
PASSWORDS = ("a-first-passphrase", "a-second-passphrase")


@dataclass(slots=True)
class World:
    """What a cause acts on; each returns the event's ``subject``, the id of what it is about, or the ``id`` in its data."""

    client: Client
    stack: Stack
    provider: Provider
    site: Site

    @contextmanager
    def indexer_held(self) -> Iterator[None]:
        """Nothing is claimed meanwhile, so that a task is open for as long as the test wants."""
        process = psutil.Process(int(self.stack.unit("indexer")["pid"]))
        process.suspend()
        try:
            yield
        finally:
            process.resume()

    async def document(self, name: str = "tea.txt", body: bytes = b"Tea grows on hills.") -> tuple[str, str]:
        collection = await self.client.collection(f"Tea {secrets.token_hex(4)}")
        [document] = await self.client.upload(collection, {name: body})
        return collection, str(document["id"])

    async def indexed(self) -> tuple[str, str]:
        collection, document = await self.document()
        await self.client.search(collection, "tea", wait_for=[document])
        return collection, document

    async def sent(self, collection: str, subject: str) -> str:
        """An event of another service; its id."""
        id_ = secrets.token_hex(8)
        event = {"specversion": "1.0", "id": id_, "source": "/tests", "type": UPSERT, "subject": subject}
        body = {**event, "collection": collection, "data": {"content": "Tea grows on hills."}}
        await self.client.json(
            "POST", "/ingest/events", json=body, headers={"Content-Type": STRUCTURED}, expect=HTTPStatus.ACCEPTED
        )
        return id_

    async def user(self) -> dict[str, Any]:
        body = {"username": f"user-{secrets.token_hex(4)}", "password": PASSWORDS[0]}
        return await self.client.json("POST", "/register", json=body)

    async def talk(self) -> Talk:
        return await Talk.begin(self.client, await offer(self.client, self.provider))


async def _uploaded(world: World) -> str:
    return (await world.document())[1]


async def _corrupt(world: World) -> str:
    return (await world.document("broken.docx", CORRUPT))[1]


async def _cancelled(world: World) -> str:
    with world.indexer_held():
        collection, document = await world.document()
        await world.client.json("POST", f"/collections/{collection}/documents/{document}/cancel")
    return document


async def _superseded(world: World) -> str:
    with world.indexer_held():
        collection, document = await world.document()
        path = f"/collections/{collection}/documents/{document}/rebuild_indexes"
        await world.client.json("POST", path, json={"index_types": ["VECTOR", "FULLTEXT"]})
    return document


async def _expired(world: World) -> str:
    collection = await world.client.collection()
    path = f"/collections/{collection}/documents/upload"
    staged = await world.client.json("POST", path, files={"file": ("late.txt", b"never confirmed")})
    return str(staged["document_id"])


async def _deleted(world: World) -> str:
    collection, document = await world.indexed()
    await world.client.json("DELETE", f"/collections/{collection}/documents/{document}")
    return document


async def _created(world: World) -> str:
    return await world.client.collection()


async def _updated(world: World) -> str:
    collection = await world.client.collection()
    await world.client.json("PUT", f"/collections/{collection}", json={"title": "Coffee"})
    return collection


async def _shared(world: World) -> str:
    collection = await world.client.collection()
    await world.client.http.post(f"/collections/{collection}/sharing")
    return collection


async def _unshared(world: World) -> str:
    collection = await _shared(world)
    await world.client.http.delete(f"/collections/{collection}/sharing")
    return collection


async def _collection_deleted(world: World) -> str:
    collection = await world.client.collection()
    await world.client.json("DELETE", f"/collections/{collection}")
    return collection


async def _summarized(world: World) -> str:
    body = {"title": "Tea", "config": {"enable_summary": True}}
    collection = str((await world.client.json("POST", "/collections", json=body))["id"])
    await world.client.upload(collection, {"tea.txt": b"Tea grows on hills. It is picked in spring."})
    return collection


async def _answered(world: World) -> str:
    return str(await (await world.talk()).ask("Tea?"))


async def _unanswered(world: World) -> str:
    world.provider.decide = lambda _: Reply(status=400)
    return str(await (await world.talk()).ask("Tea?"))


async def _registered(world: World) -> str:
    return str((await world.user())["id"])


async def _quotas(world: World) -> str:
    user = await world.user()
    await world.client.json("PUT", f"/quotas/{user['id']}", json={"max_bot_count": 7})
    return str(user["id"])


async def _password(world: World) -> str:
    user = await world.user()
    body = {"username": user["username"], "old_password": PASSWORDS[0], "new_password": PASSWORDS[1]}
    async with Client(world.stack.url, user["api_key"]) as own:
        await own.json("POST", "/change-password", json=body)
    return str(user["id"])


async def _user_deleted(world: World) -> str:
    user = await world.user()
    await world.client.json("DELETE", f"/users/{user['id']}")
    return str(user["id"])


async def _key(world: World) -> str:
    return str((await world.client.json("POST", "/apikeys", json={"description": "tests"}))["id"])


async def _key_updated(world: World) -> str:
    key = await _key(world)
    await world.client.json("PUT", f"/apikeys/{key}", json={"description": "others"})
    return key


async def _key_revoked(world: World) -> str:
    key = await _key(world)
    (await world.client.http.delete(f"/apikeys/{key}")).raise_for_status()
    return key


async def _ingest_completed(world: World) -> str:
    return await world.sent(await world.client.collection(), "pages/tea.md")


async def _ingest_failed(world: World) -> str:
    """Nothing is wrong with the event itself: a document of another origin has the name."""
    collection, _ = await world.document("tea.txt")
    return await world.sent(collection, "tea.txt")


async def _webhook_disabled(world: World) -> str:
    body = {"url": world.site.page("/hook", "", status=410)}
    webhook = str((await world.client.json("POST", "/webhooks", json=body, expect=HTTPStatus.CREATED))["id"])
    await world.client.json("POST", f"/webhooks/{webhook}/test", expect=HTTPStatus.ACCEPTED)
    return webhook


CAUSES: dict[type[Fact], Callable[[World], Awaitable[str]]] = {
    facts.DocumentUploaded: _uploaded,
    facts.DocumentParsed: _uploaded,
    facts.DocumentParseFailed: _corrupt,
    facts.DocumentIndexed: _uploaded,
    facts.DocumentFailed: _corrupt,
    facts.DocumentCancelled: _cancelled,
    facts.DocumentSuperseded: _superseded,
    facts.DocumentRemoved: _deleted,
    facts.DocumentExpired: _expired,
    facts.DocumentDeleted: _deleted,
    facts.IndexActivated: _uploaded,
    facts.IndexFailed: _corrupt,
    facts.IndexRemoved: _deleted,
    facts.CollectionCreated: _created,
    facts.CollectionUpdated: _updated,
    facts.CollectionShared: _shared,
    facts.CollectionUnshared: _unshared,
    facts.CollectionDeleted: _collection_deleted,
    facts.CollectionSummarized: _summarized,
    turns.TurnStarted: _answered,
    turns.TurnFinished: _answered,
    turns.TurnFailed: _unanswered,
    accounts.UserCreated: _registered,
    accounts.UserUpdated: _quotas,
    accounts.UserPasswordChanged: _password,
    accounts.UserDeleted: _user_deleted,
    accounts.KeyCreated: _key,
    accounts.KeyUpdated: _key_updated,
    accounts.KeyRevoked: _key_revoked,
    ingests.IngestCompleted: _ingest_completed,
    ingests.IngestFailed: _ingest_failed,
    webhooks.WebhookDisabled: _webhook_disabled,
    facts.StepDeadLettered: _corrupt,
}
FAILURES = (facts.DocumentParseFailed, facts.DocumentFailed, facts.IndexFailed, turns.TurnFailed)


def test_every_fact_has_a_cause_here() -> None:
    assert set(CAUSES) == set(facts.FACTS)


@pytest.mark.parametrize("fact", CAUSES, ids=lambda fact: fact.type_name)
async def test_a_fact_is_published_by_what_makes_it_true(
    stack: Stack, client: Client, bus: Bus, fact: type[Fact]
) -> None:
    last = (await bus.js.stream_info(subjects.EVENTS)).state.last_seq
    async with providing() as provider, open_site() as site:
        about = await CAUSES[fact](World(client, stack, provider, site))
        subject, found = await published(bus, last, fact, about)
    assert subjects.parse_event(subject).owner == found.owner
    assert found.source in {service.value for service in fact.makers}
    if fact in FAILURES:
        assert found.data.error_code
        assert found.data.error_message
    if fact is ingests.IngestFailed:
        assert found.data.code == "DOCUMENT_NAME_CONFLICT"
    if fact is webhooks.WebhookDisabled:
        assert found.data.reason == "gone"


async def published(bus: Bus, after: int, fact: type[Fact], about: str) -> tuple[str, Fact]:
    """The first event of this type about ``about`` behind a place in the stream."""
    reader = OrderedReader(bus, subjects.EVENTS, subjects.events_of_type(fact.type_name))
    await reader.open(after + 1)
    async with asyncio.timeout(WITHIN), aclosing(reader.read()) as messages:
        async for message in messages:
            told = json.loads(message.body)
            if about in {told["subject"], told["data"].get("id")}:
                return message.subject, fact.model_validate_json(message.body)
    raise AssertionError


async def test_what_stands_under_an_owners_token_is_about_that_owner_alone(
    client: Client, stack: Stack, bus: Bus
) -> None:
    last = (await bus.js.stream_info(subjects.EVENTS)).state.last_seq
    async with providing() as provider, open_site() as site:
        world = World(client, stack, provider, site)
        user = await world.user()
        await _uploaded(world)
    reader = OrderedReader(bus, subjects.EVENTS, subjects.owner_events(str(user["id"])))
    pending = await reader.open(last + 1)
    async with asyncio.timeout(WITHIN), aclosing(reader.read()) as messages:
        told = [json.loads((await anext(messages)).body) for _ in range(pending)]
    assert {it["owner"] for it in told} == {user["id"]}
    assert {it["type"] for it in told} == {"user.created", "key.created"}
