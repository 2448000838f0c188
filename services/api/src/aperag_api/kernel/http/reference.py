"""The API's reference as one page without scripts: nothing of it comes from another server, or could run here."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, StrictUndefined

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

STYLE = "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}td,th{padding:0 1rem 0 0}"
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def install(app: FastAPI) -> None:
    app.add_route("/docs", _reference, include_in_schema=False)


async def _reference(request: Request) -> HTMLResponse:
    return HTMLResponse(_page(request.app), headers={"Content-Security-Policy": POLICY})


@cache
def _page(app: FastAPI) -> str:
    document = app.openapi()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(resources.files(__package__).joinpath("reference.html").read_text("utf-8"))
    schemas = document.get("components", {}).get("schemas", {})
    return template.render(
        info=document["info"],
        style=STYLE,
        tags=_by_tag(document["paths"]),
        schemas={name: json.dumps(schema, indent=2, ensure_ascii=False) for name, schema in sorted(schemas.items())},
    )


def _by_tag(paths: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, operations in paths.items():
        for method, operation in operations.items():
            tags.setdefault(operation.get("tags", ["other"])[0], []).append(_shown(path, method, operation))
    return dict(sorted(tags.items()))


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
