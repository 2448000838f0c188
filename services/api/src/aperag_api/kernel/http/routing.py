"""Which route a request is for, found by the words of its path.

The framework asks one route after the other, once for each router that includes another: for two hundred routes that costs
more than all else that it does.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute, iter_route_contexts
from opentelemetry import trace
from starlette.routing import Match

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.types import Receive, Scope, Send

LITERALS = 4
"""Segments of a path, the empty one before its first slash included, that are words in every path that is indexed."""


class RouteIndex:
    """In the place of a router's own search, which still answers for whatever is not found here: other methods, paths
    that nobody has, sockets.
    """

    def __init__(self, router: APIRouter) -> None:
        """Of the routes that ``router`` has by now."""
        self._otherwise = router.app
        self._routes: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(list)
        for route in iter_route_contexts(router.routes):
            template = route.path_format or ""
            if isinstance(route.original_route, APIRoute) and _indexed(template, route):
                self._routes[_key(template)].append(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self.find(scope)
        if route is None:
            await self._otherwise(scope, receive, send)
            return
        scope["route"] = route.original_route
        span = trace.get_current_span()
        if span.is_recording():
            span.update_name(f"{scope['method']} {route.path_format}")
            span.set_attribute("http.route", route.path_format)
        await route.app(scope, receive, send)

    def find(self, scope: Scope) -> Any | None:
        """The route, whose part of the scope is then set."""
        if scope["type"] != "http":
            return None
        for route in self._routes.get(_key(scope["path"]), ()):
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                scope.update(child_scope)
                return route
        return None


def _indexed(template: str, route: Any) -> bool:
    """Whether its first segments are words, and no parameter holds several segments."""
    first = template.split("/")[:LITERALS]
    return not any("{" in segment for segment in first) and not any(
        converter.regex != "[^/]+" for converter in route.param_convertors.values()
    )


def _key(path: str) -> tuple[Any, ...]:
    segments = path.split("/")
    return len(segments), *segments[:LITERALS]
