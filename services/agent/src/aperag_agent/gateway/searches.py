"""Searches of a flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from aperag_common import errors
from aperag_common.flows.nodes import Passage
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONNECT_SECONDS = 5.0
SECONDS = 60.0
IDLE_SECONDS = 2.0
"""Less than the gateway keeps an idle connection."""
CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Found:
    """``errors`` by kind of search: why it gave nothing."""

    passages: Sequence[Passage] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


class SearchRefused(errors.Terminal):
    """The gateway's own words are the message."""

    code = "SEARCH_REFUSED"


def connect(api_url: str) -> httpx.AsyncClient:
    """One for the process: each request shows its own turn's credential."""
    return httpx.AsyncClient(
        base_url=f"{api_url.rstrip('/').removesuffix('/api/v1')}/api/v1",
        timeout=httpx.Timeout(SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
        trust_env=False,
        follow_redirects=False,
    )


@dataclass(frozen=True, slots=True)
class Searches:
    """Of one turn. Raises ``Retryable`` where the gateway cannot be reached, ``SearchRefused`` where it says no."""

    http: httpx.AsyncClient
    credential: str = field(repr=False)

    async def collection(self, collection_id: str, body: Mapping[str, Any]) -> Found:
        # An id stands in the path: what is none is not found instead of changing the path's meaning.
        segment = collection_id if collection_id.isalnum() else "-"
        found = await self._post(f"/collections/{segment}/searches", body)
        place = {"type": "search_collection", "query": body["query"], "collection_id": collection_id}
        return _found(found, place)

    async def chat(self, chat_id: str, body: Mapping[str, Any]) -> Found:
        place = {"type": "search_chat_files", "query": body["query"], "chat_id": chat_id}
        return _found(await self._post(f"/chats/{chat_id}/search", body), place)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {self.credential}", **propagate.inject()}
        try:
            answer = await self._twice(path, headers, {**body, "save_to_history": False})
        except (httpx.HTTPError, OSError) as err:
            message = "The gateway cannot be reached, so nothing can be searched: is it running?"
            raise errors.Retryable(message, code="GATEWAY_UNREACHABLE") from err
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status_code in _LATER:
            message = f"The gateway cannot search now: it answered with the status {answer.status_code}."
            raise errors.Retryable(message, code="GATEWAY_UNREACHABLE")
        if not answer.is_success:
            raise SearchRefused(_said(answer))
        found: Mapping[str, Any] = answer.json()
        return found

    async def _twice(self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> httpx.Response:
        """Again where the gateway closed the connection instead of answering; a search changes nothing."""
        try:
            return await self.http.post(path, json=body, headers=headers)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await self.http.post(path, json=body, headers=headers)


_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


def _found(answer: Mapping[str, Any], place: Mapping[str, str]) -> Found:
    passages = [
        Passage(text=item["content"], score=item["score"], metadata={**item["metadata"], **place})
        for item in answer["items"]
    ]
    return Found(passages, answer.get("errors") or {})


def _said(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        said = body.get("message") or body.get("detail")
    except (ValueError, AttributeError):
        said = None
    return str(said or f"The gateway answered with the status {answer.status_code}.")[:CHARACTERS]
