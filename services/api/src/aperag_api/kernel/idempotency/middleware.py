"""Where requests with an Idempotency-Key are seen: before anything is done for them."""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from aperag_api.kernel.auth import caller_of
from aperag_api.kernel.errors import answer_to
from aperag_api.kernel.idempotency import repository
from aperag_api.kernel.idempotency.body import Answer, Body
from aperag_api.kernel.idempotency.fingerprint import Fingerprint
from aperag_api.kernel.idempotency.repository import Kept
from aperag_api.kernel.reading import reading
from aperag_common import errors
from aperag_common.auth.derived import derive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pydantic import SecretStr
    from sqlalchemy.ext.asyncio import AsyncEngine
    from starlette.types import ASGIApp, Receive, Scope, Send

    from aperag_api.kernel.auth import Caller
    from aperag_api.kernel.http.rates import Rates
    from aperag_api.kernel.http.settings import IdempotencySettings
    from aperag_api.kernel.idempotency.repository import Claim, Earlier

log = structlog.get_logger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
PURPOSE = "aperag/idempotency"
_ROOT = "/api/v1"
TELLS_SECRETS = (
    *("/apikeys", "/auth", "/change-password", "/invite", "/login", "/logout", "/register", "/test", "/webhooks"),
)
"""Their answers hold keys, tokens or cookies, which are stored nowhere: here the header changes nothing."""

_TRIES = 5
MOST_WAIT = 5
"""Seconds that a client is asked to wait at most: what runs renews its lock, and mostly ends long before."""


class InUse(errors.Busy):
    """The first request under this key has not ended."""

    code, number, status = "IDEMPOTENCY_KEY_IN_USE", 1007, 409


class Reused(errors.ClientError):
    """The key belongs to another request."""

    code, number, status = "IDEMPOTENCY_KEY_REUSED", 1008, 422


class Idempotency:
    """``secrets``: the installation's, the present one first; what was kept under an earlier one is still known.

    ``max_body`` bounds what is gathered of a body, ``max_form`` what is read of a form that is not looked at.
    """

    def __init__(
        self,
        app: ASGIApp,
        engine: AsyncEngine,
        settings: IdempotencySettings,
        *,
        secrets: Sequence[SecretStr],
        max_body: int,
        max_form: int,
    ) -> None:
        self._app = app
        self._engine = engine
        self._settings = settings
        self._keys = [derive(secret, PURPOSE) for secret in secrets]
        self._max_body = max_body
        self._max_form = max_form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key_of(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            begun = await self._begin(request, key)
        except (errors.ApeRAGError, SQLAlchemyError, ConnectionError) as err:
            await (await answer_to(request, err))(scope, receive, send)
            return
        if isinstance(begun, Kept):
            headers = {**begun.headers, REPLAYED: "true"}
            await Response(begun.body, begun.status, headers)(scope, receive, send)
        elif begun is not None:
            await self._run(begun, scope, send)
        else:
            await self._app(scope, receive, send)

    async def _begin(self, request: Request, key: str) -> _Begun | Kept | None:
        """None where nobody is known whose request it could be."""
        if not _KEY.fullmatch(key):
            raise errors.InvalidParameter(f"{HEADER} must have 1 to 255 visible ASCII characters")
        caller = await caller_of(request)
        if caller is None:
            return None
        fingerprint = _fingerprint(self._keys, request, caller)
        body = Body(request.receive, fingerprint)
        if not fingerprint.is_form:
            await body.gather(self._max_body)
        for _ in range(_TRIES):
            mine = await self._claim(caller, key, fingerprint)
            if mine is not None:
                return _Begun(mine, body, fingerprint)
            async with reading(self._engine) as conn:
                earlier = await repository.find(conn, caller.user_id, key)
            if earlier is not None:
                await body.drain(self._max_form)
                rates: Rates = request.app.state.rates
                await rates.take(request, caller)
                return _answer_of(earlier, fingerprint)
        message = f"Another request with this {HEADER} comes and goes: try again"
        raise InUse(message, retry_after=timedelta(seconds=1))

    async def _claim(self, caller: Caller, key: str, fingerprint: Fingerprint) -> Claim | None:
        lock, kept = self._settings.lock, self._settings.kept
        async with self._engine.begin() as conn:
            return await repository.claim(conn, caller.user_id, key, fingerprint.value(), lock=lock, kept=kept)

    async def _run(self, begun: _Begun, scope: Scope, send: Send) -> None:
        async with self._held(begun.mine) as holding:

            async def keep(answer: Kept) -> None:
                if not begun.body.whole:
                    return
                try:
                    async with self._engine.begin() as conn:
                        await repository.keep(conn, begun.mine, begun.fingerprint.value(), answer)
                except (SQLAlchemyError, OSError) as err:
                    # It was done: whoever asks again at once must not have it done a second time.
                    holding.done_unkept = True
                    log.warning("idempotency.unkept", error=repr(err))

            await self._app(scope, begun.body.receive, Answer(send, self._settings.max_answer, keep).send)

    @asynccontextmanager
    async def _held(self, mine: Claim) -> AsyncIterator[_Holding]:
        """Nobody takes over what still runs here; what ended without an answer to keep may be done again at once."""
        renewing = asyncio.create_task(self._renew(mine))
        holding = _Holding()
        try:
            yield holding
        finally:
            renewing.cancel()
            if not holding.done_unkept:
                await self._release(mine)

    async def _release(self, mine: Claim) -> None:
        try:
            async with self._engine.begin() as conn:
                await repository.release(conn, mine)
        except (SQLAlchemyError, OSError) as err:
            log.warning("idempotency.unreleased", error=repr(err))

    async def _renew(self, mine: Claim) -> None:
        while True:
            await asyncio.sleep(self._settings.lock.total_seconds() / 3)
            try:
                async with self._engine.begin() as conn:
                    await repository.renew(conn, mine, self._settings.lock)
            except (SQLAlchemyError, OSError) as err:
                log.warning("idempotency.unrenewed", error=repr(err))


@dataclass(slots=True)
class _Holding:
    """``done_unkept``: the claim is left to run out."""

    done_unkept: bool = False


@dataclass(frozen=True, slots=True)
class _Begun:
    """A request that is to be done, and was not before."""

    mine: Claim
    body: Body
    fingerprint: Fingerprint


def _key_of(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(f"{_ROOT}/"):
        return None
    below = scope["path"].removeprefix(_ROOT)
    if any(below == path or below.startswith(f"{path}/") for path in TELLS_SECRETS):
        return None
    return Headers(scope=scope).get(HEADER)


def _fingerprint(keys: Sequence[bytes], request: Request, caller: Caller) -> Fingerprint:
    """What the caller may do belongs to it: a key of less reach is not told what one of more reach was."""
    reach = "*" if caller.collection_ids is None else ",".join(sorted(caller.collection_ids))
    query = request.scope["query_string"].decode("latin-1")
    parts = (request.method, request.scope["path"], query, caller.role, caller.scope, reach)
    return Fingerprint(keys, parts, request.headers.get("content-type", ""))


def _answer_of(earlier: Earlier, fingerprint: Fingerprint) -> Kept:
    if earlier.answer is None:
        message = f"The first request with this {HEADER} is still being done: try again"
        raise InUse(message, retry_after=timedelta(seconds=min(max(1, math.ceil(earlier.wait)), MOST_WAIT)))
    if not fingerprint.is_of(earlier.fingerprint):
        raise Reused(f"This {HEADER} belongs to another request: use a new one")
    return earlier.answer
