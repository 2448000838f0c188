"""The API's reference as one page without scripts: nothing of it comes from another server, or could run here."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from aperag_api.kernel.http.pages import answered, rendered
from aperag_api.kernel.http.uses import by_use

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse


def install(app: FastAPI) -> None:
    app.add_route("/", _home, include_in_schema=False)
    app.add_route("/docs", _reference, include_in_schema=False)


async def _home(request: Request) -> HTMLResponse:
    """Where things are; for whoever opens the address that they were given."""
    app, console = request.app, request.app.state.console_url
    return answered(rendered(__package__, "home.html", title=app.title, version=app.version, console=console))


async def _reference(request: Request) -> HTMLResponse:
    return answered(_page(request.app))


@cache
def _page(app: FastAPI) -> str:
    document = app.openapi()
    schemas = document.get("components", {}).get("schemas", {})
    return rendered(
        __package__,
        "reference.html",
        info=document["info"],
        chapters=by_use(_by_tag(document["paths"])),
        schemas={name: json.dumps(schema, indent=2, ensure_ascii=False) for name, schema in sorted(schemas.items())},
    )


def _by_tag(paths: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, operations in paths.items():
        for method, operation in operations.items():
            tags.setdefault(operation.get("tags", ["other"])[0], []).append(_shown(path, method, operation))
    return tags


def _shown(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "parameters": [{"description": "", "required": False, **it} for it in operation.get("parameters", [])],
        "bodies": [(media, _name(body.get("schema", {}))) for media, body in content.items()],
        "answers": [(status, answer["description"]) for status, answer in operation["responses"].items()],
    }


def _name(schema: dict[str, Any]) -> str:
    named = str(schema.get("$ref", "")).rpartition("/")[2]
    return named or json.dumps(schema, ensure_ascii=False)
