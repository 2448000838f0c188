"""Routes are found by the words of their path, and they are those that the framework would find."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Match

from aperag_api.edge.routers import routes_of
from aperag_api.kernel.http.routing import RouteIndex

SEGMENT = "seg-1"


@pytest.fixture(scope="module")
def router() -> APIRouter:
    router = APIRouter()
    router.routes.extend(routes_of("production"))
    return router


def requests(router: APIRouter) -> list[tuple[str, str]]:
    """One for each method of each route that is no socket."""
    contexts = [it for it in iter_route_contexts(router.routes) if isinstance(it.original_route, APIRoute)]
    return [
        (method, re.sub(r"\{[^}]*\}", SEGMENT, str(route.path)))
        for route in contexts
        for method in sorted(route.methods or ())
    ]


def scope_of(method: str, path: str) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}


def found_by_asking_each(router: APIRouter, scope: dict[str, Any]) -> Any:
    contexts = iter_route_contexts(router.routes)
    return next((it.original_route for it in contexts if it.matches(dict(scope))[0] is Match.FULL), None)


def test_each_request_finds_the_route_that_the_framework_finds(router: APIRouter) -> None:
    index, indexed = RouteIndex(router), 0
    asked = requests(router)
    assert len(asked) > 150
    for method, path in asked:
        scope = scope_of(method, path)
        expected = found_by_asking_each(router, scope)
        found = index.find(scope)
        indexed += found is not None
        assert found is None or found.original_route is expected, (method, path)
    assert indexed > 0.95 * len(asked)


def test_parameters_of_the_path_stand_in_the_scope(router: APIRouter) -> None:
    scope = scope_of("GET", "/api/v1/collections/col1/documents/doc1")
    found = RouteIndex(router).find(scope)
    assert found is not None
    assert found.path_format == "/api/v1/collections/{collection_id}/documents/{document_id}"
    assert scope["path_params"] == {"collection_id": "col1", "document_id": "doc1"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/api/v1/collections"),
        ("GET", "/api/v1/collections/"),
        ("GET", "/api/v1/nothing/of/the/kind"),
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/api/v1/collections/a/b/c/d/e/f"),
    ],
)
def test_the_rest_is_left_to_the_framework(router: APIRouter, method: str, path: str) -> None:
    assert RouteIndex(router).find(scope_of(method, path)) is None
