"""Which models a collection is found with, over HTTP: its embedding model, its change, and rerank in searches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_api.edge.app import open_gateway
from aperag_api.knowledge.searches import reranking
from aperag_common import errors
from aperag_common.db.models import Lane
from aperag_common.db.models.chunk_vector import E5_MODEL, USE_MODEL
from aperag_models.settings import ModelSettings
from aperag_reconciler.switches.reconcile import Switches
from aperag_retrieval.e5 import encoder
from aperag_retrieval.testing import WordEmbedders
from aperag_work.opening import Admission

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_api.edge.settings import Settings
    from aperag_work.runtime import Runtime

Person = Any
Indexer = Any

SHORT, HUGE, RERANKER = "elsewhere/short", "elsewhere/huge", "elsewhere/reader"
SPEC = {"model": "short", "model_service_provider": "elsewhere"}
LOCAL_SPEC = {"model": "use-multilingual-v3", "model_service_provider": "local"}
TEXTS = {"a.txt": "green tea is steamed", "b.txt": "black tea is oxidised tea", "c.txt": "tea bricks are pressed"}


@dataclass(frozen=True, slots=True)
class Ranked:
    index: int
    score: float


class Providers(WordEmbedders):
    """Reads shorter passages as better ones; ``failure`` and ``patience`` are the rerank model's."""

    def __init__(self) -> None:
        super().__init__({SHORT: 8, HUGE: 4096})
        self.read: list[tuple[str, str, list[str]]] = []
        self.failure: Exception | None = None
        self.answers = True

    async def rerank(
        self, user_id: str, model_id: str, query: str, documents: Sequence[str], top_n: int
    ) -> list[Ranked]:
        self.read.append((model_id, query, list(documents)))
        if self.failure is not None:
            raise self.failure
        if not self.answers:
            await asyncio.Event().wait()
        ranked = [Ranked(index, 1 / len(document)) for index, document in enumerate(documents)]
        return sorted(ranked, key=lambda it: -it.score)[:top_n]


@pytest.fixture
def providers() -> Providers:
    return Providers()


@pytest_asyncio.fixture
async def gateway(
    runtime: Runtime, settings: Settings, providers: Providers, see_stream: Callable[[], Awaitable[int]]
) -> AsyncIterator[Gateway]:
    await see_stream()
    async with open_gateway(runtime, settings, models=providers) as gateway:
        await offer(runtime.engine, "elsewhere", "public", "short", "huge", "silent")
        yield gateway


async def offer(engine: AsyncEngine, provider: str, owner: str, *models: str) -> None:
    async with engine.begin() as conn:
        await conn.execute(
            text(
                """
                INSERT INTO llm_provider (name, user_id, label, completion_dialect, embedding_dialect, rerank_dialect,
                    allow_custom_base_url, base_url) VALUES (:name, :owner, '', 'openai', 'openai', 'jina_ai', false, '')
                """
            ),
            {"name": provider, "owner": owner},
        )
        for model in models:
            await conn.execute(
                text(
                    """
                    INSERT INTO llm_model (provider_name, api, model, custom_llm_provider)
                    VALUES (:provider, 'embedding', :model, 'openai')
                    """
                ),
                {"provider": provider, "model": model},
            )


async def prefer(engine: AsyncEngine, scenario: str, model_id: str) -> None:
    provider, _, model = model_id.partition("/")
    async with engine.begin() as conn:
        await conn.execute(
            text("INSERT INTO default_model (scenario, provider_name, model) VALUES (:scenario, :provider, :model)"),
            {"scenario": scenario, "provider": provider, "model": model},
        )


async def ask(person: Person, method: str, path: str, **config: Any) -> Any:
    body = {"title": "Tea", "type": "document", "description": "", "config": config}
    return await person.http.request(method, path, json=body)


async def shown(person: Person, collection: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await person.http.get(f"/collections/{collection}")).json()
    return answer


async def test_a_collection_is_made_with_the_model_that_was_asked_for(alice: Person, providers: Providers) -> None:
    made = (await ask(alice, "POST", "/collections", embedding=SPEC)).json()
    assert made["embedding_model"] == SHORT
    assert {name: made["config"]["embedding"][name] for name in SPEC} == SPEC
    assert made["embedding_switch"] is None
    assert providers.asked == [(alice.id, SHORT)]
    assert await shown(alice, made["id"]) == made


async def test_without_a_choice_it_is_the_installations_and_without_that_the_local_one(
    alice: Person, engine: AsyncEngine
) -> None:
    assert (await ask(alice, "POST", "/collections")).json()["embedding_model"] == USE_MODEL
    await prefer(engine, "default_for_embedding", SHORT)
    made = (await ask(alice, "POST", "/collections")).json()
    assert (made["embedding_model"], made["config"]["embedding"]) == (SHORT, None)


@pytest.mark.parametrize(
    ("spec", "status", "code"),
    [
        ({"model": "short"}, 400, "INVALID_PARAMETER"),
        ({"model_service_provider": "elsewhere"}, 400, "INVALID_PARAMETER"),
        ({"model": "short", "model_service_provider": "nowhere"}, 400, "LLM_PROVIDER_NOT_FOUND"),
        ({"model": "short", "model_service_provider": "mallorys"}, 400, "LLM_PROVIDER_NOT_FOUND"),
        ({"model": "unheard", "model_service_provider": "elsewhere"}, 404, "RESOURCE_NOT_FOUND"),
        ({"model": "huge", "model_service_provider": "elsewhere"}, 400, "INVALID_PARAMETER"),
        ({"model": "silent", "model_service_provider": "elsewhere"}, 503, "MODEL_UNAVAILABLE"),
    ],
)
async def test_a_model_that_could_not_embed_is_refused_before_anything_is_kept(
    alice: Person, mallory: Person, engine: AsyncEngine, spec: dict[str, str], status: int, code: str
) -> None:
    await offer(engine, "mallorys", mallory.id, "short")
    collection = await alice.collection()
    for method, path in (("POST", "/collections"), ("PUT", f"/collections/{collection}")):
        answer = await ask(alice, method, path, embedding=spec)
        assert (answer.status_code, answer.json()["error_code"]) == (status, code), answer.text
    assert (await alice.http.get("/collections")).json()["pageResult"]["count"] == 1
    assert (await shown(alice, collection))["embedding_switch"] is None


async def test_a_key_that_the_provider_refuses_is_the_callers_to_mend(alice: Person, providers: Providers) -> None:
    providers[SHORT].failure = errors.Terminal("elsewhere refused the API key of this provider; enter another one")
    answer = await ask(alice, "POST", "/collections", embedding=SPEC)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER")
    assert "refused the API key" in answer.json()["message"]


async def test_another_model_is_wanted_until_it_takes_over(
    alice: Person, engine: AsyncEngine, runtime: Runtime
) -> None:
    collection = await alice.collection()
    changed = (await ask(alice, "PUT", f"/collections/{collection}", embedding=SPEC)).json()
    assert changed["embedding_model"] == USE_MODEL
    assert changed["embedding_switch"] == {"wanted": SHORT, "done": 0, "total": 0, "failed": 0, "reason": None}
    admission = Admission(Lane.BULK, 32, timedelta(seconds=60))
    await Switches(engine, runtime.dispatcher, admission, timedelta(0)).run()
    after = await shown(alice, collection)
    assert (after["embedding_model"], after["embedding_switch"]) == (SHORT, None)


async def test_the_model_that_is_there_takes_the_change_back(alice: Person) -> None:
    collection = await alice.collection()
    await ask(alice, "PUT", f"/collections/{collection}", embedding=SPEC)
    back = (await ask(alice, "PUT", f"/collections/{collection}", embedding=LOCAL_SPEC)).json()
    assert (back["embedding_model"], back["embedding_switch"]) == (USE_MODEL, None)
    assert back["config"]["embedding"]["model"] == "use-multilingual-v3"


async def test_a_change_that_names_no_model_leaves_it(alice: Person) -> None:
    made = (await ask(alice, "POST", "/collections", embedding=SPEC)).json()
    changed = (await ask(alice, "PUT", f"/collections/{made['id']}", language="en-US")).json()
    assert (changed["embedding_model"], changed["embedding_switch"]) == (SHORT, None)
    assert changed["config"]["embedding"] == made["config"]["embedding"]


async def test_a_subscriber_is_not_told_of_models(alice: Person, mallory: Person) -> None:
    made = (await ask(alice, "POST", "/collections", embedding=SPEC)).json()
    assert (await alice.http.post(f"/collections/{made['id']}/sharing")).is_success
    assert (await mallory.http.post(f"/marketplace/collections/{made['id']}/subscribe")).is_success
    seen = await shown(mallory, made["id"])
    assert (seen["embedding_model"], seen["embedding_switch"], seen["config"]["embedding"]) == (None, None, None)


async def stocked(person: Person, indexer: Indexer) -> str:
    collection = await person.collection()
    for name, content in TEXTS.items():
        document = await person.uploaded(collection, name, content)
        await indexer.settle(str(document["id"]), content)
    return str(collection)


async def search(person: Person, collection: str, *, topk: int = 5, rerank: bool = True) -> dict[str, Any]:
    body = {"query": "oxidised tea", "fulltext_search": {"topk": topk}, "rerank": rerank}
    answer: dict[str, Any] = (await person.http.post(f"/collections/{collection}/searches", json=body)).json()
    return answer


def sources(answer: dict[str, Any]) -> list[str]:
    return [item["source"] for item in answer["items"]]


async def test_a_rerank_model_decides_over_more_hits_than_were_asked_for(
    alice: Person, indexer: Indexer, engine: AsyncEngine, providers: Providers
) -> None:
    collection = await stocked(alice, indexer)
    plain = await search(alice, collection, rerank=False)
    assert sources(plain)[0] == "b.txt"
    await prefer(engine, "default_for_rerank", RERANKER)
    answer = await search(alice, collection, topk=1)
    assert (sources(answer), answer["errors"]) == (["a.txt"], {})
    assert answer["items"][0]["score"] == pytest.approx(1 / len(TEXTS["a.txt"]))
    [(model, query, documents)] = providers.read
    assert (model, query, sorted(documents)) == (RERANKER, "oxidised tea", sorted(TEXTS.values()))


async def test_without_a_rerank_model_searches_keep_their_order(
    alice: Person, indexer: Indexer, providers: Providers
) -> None:
    collection = await stocked(alice, indexer)
    plain, answer = await search(alice, collection, rerank=False), await search(alice, collection)
    assert (answer["items"], answer["errors"], providers.read) == (plain["items"], {}, [])


async def test_a_rerank_model_that_fails_costs_the_order_not_the_hits(
    alice: Person, indexer: Indexer, engine: AsyncEngine, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = await stocked(alice, indexer)
    plain = await search(alice, collection, topk=2, rerank=False)
    await prefer(engine, "default_for_rerank", RERANKER)
    providers.failure = errors.RateLimited("elsewhere asks to wait 20 s")
    refused = await search(alice, collection, topk=2)
    assert (refused["items"], refused["errors"]) == (plain["items"], {"rerank": "elsewhere asks to wait 20 s"})
    providers.failure, providers.answers = None, False
    monkeypatch.setattr(reranking, "DEADLINE_SECONDS", 0.1)
    silent = await search(alice, collection, topk=2)
    assert silent["items"] == plain["items"]
    assert "did not answer" in silent["errors"]["rerank"]


async def test_an_embedding_provider_that_is_away_costs_its_leg_only(
    alice: Person, indexer: Indexer, providers: Providers
) -> None:
    made = (await ask(alice, "POST", "/collections", embedding=SPEC)).json()
    document = await alice.uploaded(made["id"], "a.txt", TEXTS["a.txt"])
    await indexer.settle(str(document["id"]), TEXTS["a.txt"])
    providers[SHORT].failure = errors.UpstreamUnavailable("elsewhere does not answer")
    body = {"query": "tea", "fulltext_search": {"topk": 5}, "vector_search": {"topk": 5}}
    answer = (await alice.http.post(f"/collections/{made['id']}/searches", json=body)).json()
    assert answer["errors"] == {"vector_search": "elsewhere does not answer"}
    assert [item["source"] for item in answer["items"]] == ["a.txt"]


@pytest.mark.parametrize("settings", [{"models": ModelSettings(local="best")}], indirect=True)
async def test_new_collections_get_the_best_built_in_model(alice: Person) -> None:
    assert (await ask(alice, "POST", "/collections")).json()["embedding_model"] == E5_MODEL


async def test_a_built_in_model_that_does_not_work_here_is_not_taken(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "RUNTIME", "no_such_runtime")
    spec = {"model": "multilingual-e5-small", "model_service_provider": "local"}
    answer = await ask(alice, "POST", "/collections", embedding=spec)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER")
    assert "no_such_runtime" in answer.json()["message"]
