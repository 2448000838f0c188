"""One audited call while it runs: what came in, who it is from, how it was answered."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection

from aperag_api.identity.audit.decide import ResourceType, complaint_of, created_in, is_audited, name_of, resource_of
from aperag_api.identity.audit.repository import Entry
from aperag_api.kernel.auth import caller_of
from aperag_api.kernel.masking import clean, masked
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import Scope

    from aperag_api.kernel.auth import Caller
    from aperag_api.kernel.multipart import ReceivedPart

MOST_BYTES = 64 * 1024
"""Of a body: what is longer is not looked at."""

MOST_QUERY_FIELDS = 50
_JSON = ("application/json", "application/problem+json")

_CALL = "audited_call"
_UPLOADED = "uploaded"
"""Where a request's state holds what a streamed form brought."""

_LOGIN = "/auth/"
"""Below it an address carries what a provider lets a person in with."""


class Copy:
    """What passes of a body, while it is small."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._whole = True

    def add(self, chunk: bytes) -> None:
        self._whole = self._whole and len(self._bytes) + len(chunk) <= MOST_BYTES
        if self._whole:
            self._bytes += chunk
        else:
            self._bytes.clear()

    def json(self) -> Any:
        """None also where it is no object or array: a lone value has no name that tells whether it is a secret."""
        if not self._whole or not self._bytes:
            return None
        try:
            value = json.loads(self._bytes)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict | list) else None


class Call:
    """Made for every call that may change something; whether it is audited shows when its route is known."""

    def __init__(self, scope: Scope, address: str) -> None:
        self._scope = scope
        self._address = address
        self._begun = time.monotonic()
        self._id = str(uuid.uuid4())
        self.request = Copy() if _is_json(HTTPConnection(scope).headers.get("content-type", "")) else None
        self.answer: Copy | None = None
        self.status: int | None = None
        self.made: str | None = None
        self.intended = False
        scope.setdefault("state", {})[_CALL] = self

    @staticmethod
    def of(scope: Scope) -> Call | None:
        call: Call | None = scope.get("state", {}).get(_CALL)
        return call

    @property
    def route(self) -> APIRoute | None:
        """The route that was found for the call, if it is one that is audited."""
        route = self._scope.get("route")
        if not isinstance(route, APIRoute) or self._scope["method"] not in (route.methods or ()):
            return None
        return route if is_audited(self._scope["method"], route.path) else None

    @property
    def turned_away(self) -> bool:
        """By a rate limit, before anybody looked at the call: a flood must not fill the log."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS and not self.intended

    @property
    def by_stranger(self) -> bool:
        return self._state.get("caller") is None

    @property
    def succeeded(self) -> bool:
        """As a login does, whose caller was a stranger until then."""
        return self.status is not None and self.status < HTTPStatus.BAD_REQUEST

    @property
    def address(self) -> str:
        return self._address

    async def identify(self) -> None:
        """A call whose body was refused has not been asked who it is from."""
        with contextlib.suppress(errors.ClientError, SQLAlchemyError, OSError):
            await caller_of(Request(self._scope))

    def answered(self, status: int, content_type: str, *, made: str | None = None) -> None:
        """``made`` is the id of what the call made, where its head tells it."""
        self.status, self.made = status, made
        self.answer = Copy() if _is_json(content_type) else None

    def failed(self) -> None:
        """Nobody has answered: whoever serves the application answers for it."""
        self.status, self.answer = HTTPStatus.INTERNAL_SERVER_ERROR, None

    def entry(self) -> Entry | None:
        """As far as the call is known by now; None where it is not audited."""
        route = self.route
        if route is None:
            return None
        asked = None if self.request is None else self.request.json()
        told = None if self.answer is None else self.answer.json()
        resource, resource_id = resource_of(route.path, self._scope.get("path_params", {}))
        good = self.status is not None and self.status < 400
        user_id, username = self._who(resource, asked, told if good else None)
        headers = HTTPConnection(self._scope).headers
        identifier = resource_id or ((self.made or created_in(told)) if good else None)
        return Entry(
            id=self._id,
            user_id=user_id,
            username=None if username is None else clean(username, 256),
            resource_type=None if resource is None else resource.value,
            resource_id=None if identifier is None else clean(identifier, 255),
            api_name=name_of(route.name)[:96],
            http_method=self._scope["method"],
            path=clean(self._scope["path"], 1024),
            elapsed=round((time.monotonic() - self._begun) * 1000),
            request_data=self._asked(asked),
            ip_address=self._address[:45] or None,
            user_agent=clean(headers["user-agent"], 512) if "user-agent" in headers else None,
            request_id=self._request_id(),
            status_code=self.status,
            response_data=masked(told) if good and isinstance(told, dict) else None,
            error_message=None if good or self.status is None else self._complaint(told),
        )

    @property
    def _state(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = self._scope["state"]
        return state

    def _who(self, resource: ResourceType | None, asked: Any, told: Any) -> tuple[str | None, str | None]:
        """The caller; of a login or a registration whoever it made known, or the name that was tried."""
        caller: Caller | None = self._state.get("caller")
        if caller is not None:
            return caller.user_id, caller.username
        if resource not in {ResourceType.SESSION, ResourceType.USER}:
            return None, None
        return _text(told, "id"), _text(told, "username") or _text(asked, "username")

    def _asked(self, body: Any) -> dict[str, Any] | None:
        """Nothing of a stranger's: they would write into the log what they like."""
        if self.by_stranger:
            return None
        given: dict[str, Any] = {}
        if not self._scope["route"].path.startswith(_LOGIN):
            given["query"] = _query(self._scope["query_string"])
        given["body"] = masked(body)
        uploaded: Sequence[ReceivedPart] = self._state.get(_UPLOADED, ())
        given["documents"] = masked([{"name": part.filename, "size": part.size} for part in uploaded])
        return {name: value for name, value in given.items() if value} or None

    def _complaint(self, told: Any) -> str:
        complaint = complaint_of(told) or f"answered {self.status}"
        return clean(complaint)

    def _request_id(self) -> str:
        found = self._state.get("request_id")
        return clean(found, 64) if isinstance(found, str) and found else self._id


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() in _JSON


def _query(query: bytes) -> Any:
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS)
    except ValueError:
        return None
    return masked(dict(fields))


def _text(body: Any, name: str) -> str | None:
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else None
