"""Providers of models, what they offer, and the installation's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_cli.client.http import segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_cli.client.http import Http

Json = dict[str, Any]


async def providers(http: Http) -> list[Json]:
    return list((await http.json("GET", "/llm_providers"))["items"])


async def create_provider(http: Http, body: Json) -> Json:
    return dict(await http.json("POST", "/llm_providers", json=body))


async def change_provider(http: Http, name: str, body: Json) -> Json:
    return dict(await http.json("PUT", f"/llm_providers/{segment(name)}", json=body))


async def delete_provider(http: Http, name: str) -> bool:
    """False where there is none."""
    return bool(await http.json("DELETE", f"/llm_providers/{segment(name)}"))


async def available(http: Http, tags: Sequence[str] | None) -> list[Json]:
    """Models that can be called, one row each; with ``tags`` those that have one of them."""
    filters = [] if tags is None else [{"operation": "OR", "tags": list(tags)}]
    items = (await http.json("POST", "/available_models", json={"tag_filters": filters}))["items"]
    return [
        {"id": f"{provider['name']}/{model['model']}", "api": api, **model}
        for provider in items
        for api in ("completion", "embedding", "rerank")
        for model in provider[api]
    ]


async def add_model(http: Http, provider: str, body: Json) -> Json:
    return dict(await http.json("POST", f"/llm_providers/{segment(provider)}/models", json=body))


async def delete_model(http: Http, provider: str, api: str, model: str) -> bool:
    path = f"/llm_providers/{segment(provider)}/models/{segment(api)}/{segment(model)}"
    return bool(await http.json("DELETE", path))


async def defaults(http: Http) -> list[Json]:
    return list((await http.json("GET", "/default_models"))["items"])


async def set_default(http: Http, scenario: str, provider: str | None, model: str | None) -> list[Json]:
    wanted = {"scenario": scenario, "provider_name": provider, "model": model}
    return list((await http.json("PUT", "/default_models", json={"defaults": [wanted]}))["items"])
