"""How a route is given the services of its wing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def provided(kind: type[T]) -> Callable[[HTTPConnection], Awaitable[T]]:
    """A dependency: the application's one value of this type."""

    async def of(connection: HTTPConnection) -> T:
        value: T = connection.app.state.services[kind]
        return value

    return of
