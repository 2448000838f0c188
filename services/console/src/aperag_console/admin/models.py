"""Pages of providers and models."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.routing import Route

from aperag_console.admin.trials import try_model
from aperag_console.gateway.failures import GatewayFailure
from aperag_console.models import choices, spec_of
from aperag_console.web.forms import form_of
from aperag_console.web.page import open_page
from aperag_console.web.refusals import sentence_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.web.page import Page

HERE = "/admin/models"
SCENARIOS = {
    "default_for_agent_completion": "completion",
    "default_for_collection_completion": "completion",
    "default_for_background_task": "completion",
    "default_for_embedding": "embedding",
    "default_for_rerank": "rerank",
}
"""What a default is for, and the kind of model that it takes."""
APIS = ("completion", "embedding", "rerank")


async def show(request: Request) -> Response:
    page = await open_page(request, admin=True)
    configuration, defaults, available = await asyncio.gather(
        page.api.get("llm_configuration"),
        page.api.get("default_models"),
        page.api.post("available_models", body={"tag_filters": []}),
    )
    counts: dict[str, int] = {}
    for model in configuration["models"]:
        counts[model["provider_name"]] = counts.get(model["provider_name"], 0) + 1
    chosen = {it["scenario"]: f"{it['provider_name']}/{it['model']}" for it in defaults["items"] if it["model"]}
    return page.render(
        "models.html",
        providers=configuration["providers"],
        counts=counts,
        scenarios=SCENARIOS,
        chosen=chosen,
        choices={api: choices(available, api) for api in APIS},
    )


async def choose(request: Request) -> Response:
    page, form = await open_page(request, admin=True), await form_of(request)
    defaults = []
    for scenario in SCENARIOS:
        spec = spec_of(form.text(scenario)) if form.text(scenario) else None
        model = {"provider_name": spec["model_service_provider"], "model": spec["model"]} if spec else {}
        defaults.append({"scenario": scenario, **model})
    await page.api.put("default_models", body={"defaults": defaults})
    return page.go(HERE, "models.saved")


async def add(request: Request) -> Response:
    page, form = await open_page(request, admin=True), await form_of(request)
    body = {name: form.text(name) for name in ("label", "base_url", "api_key") if form.text(name)}
    made = await page.api.post("llm_providers", body=body)
    return page.go(f"{HERE}/{made['name']}", "models.added")


async def show_one(request: Request) -> Response:
    page, name = await open_page(request, admin=True), request.path_params["name"]
    provider, models = await asyncio.gather(
        page.api.get("llm_providers", name), page.api.get("llm_providers", name, "models")
    )
    return page.render("provider.html", provider=provider, models=models["items"], apis=APIS)


async def change(request: Request) -> Response:
    page, form, name = await open_page(request, admin=True), await form_of(request), request.path_params["name"]
    here = f"{HERE}/{name}"
    match form.text("action"):
        case "delete":
            await page.api.delete("llm_providers", name)
            return page.go(HERE, "models.deleted")
        case "add_model":
            body = {"api": form.text("api"), "model": form.text("model"), "tags": ["enable_for_agent"]}
            await page.api.post("llm_providers", name, "models", body=body)
            return page.go(here, "models.model_added", model=body["model"])
        case "remove_model":
            # The name of a model may have slashes: the gateway takes the rest of the path for it.
            await page.api.delete("llm_providers", name, "models", form.text("api"), form.text("model"))
            return page.go(here, "models.model_removed", model=form.text("model"))
        case "test":
            return await _test(page, name, form.text("api"), form.text("model"))
        case "disable":
            await page.api.put("llm_providers", name, body={"status": "disable"})
        case _:
            body = {field: form.text(field) for field in ("label", "base_url", "api_key") if form.text(field)}
            await page.api.put("llm_providers", name, body=body)
    return page.go(here, "models.saved")


async def _test(page: Page, provider: str, api: str, model: str) -> Response:
    begun = time.perf_counter()
    answer: Response
    try:
        await try_model(page.api, provider, api, model)
    except GatewayFailure as failure:
        text = sentence_of(failure, page.texts)
        answer = page.go(f"{HERE}/{provider}", "models.test_failed", model=model, why=text)
    else:
        ms = round((time.perf_counter() - begun) * 1000)
        answer = page.go(f"{HERE}/{provider}", "models.test_ok", model=model, ms=ms)
    return answer


ROUTES = [
    Route(HERE, show),
    Route(HERE, add, methods=["POST"]),
    Route(f"{HERE}/defaults", choose, methods=["POST"]),
    Route(f"{HERE}/{{name}}", show_one),
    Route(f"{HERE}/{{name}}", change, methods=["POST"]),
]
