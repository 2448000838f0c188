"""Where calls are seen: before a handler runs, and before its answer is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Request
from starlette.requests import HTTPConnection

from aperag_api.identity.audit.call import Call
from aperag_api.identity.audit.decide import never_audited
from aperag_api.identity.services import Identity
from aperag_api.kernel.auth import caller_of
from aperag_api.kernel.http.headers import TURN_HEADER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from aperag_api.identity.audit.strangers import Strangers
    from aperag_api.identity.audit.trail import AuditTrail
    from aperag_common.http.front import Front


async def intended(request: Request) -> None:
    """A dependency of every route below /api/v1 and /v1: who is about to do what is on record before it is done."""
    call = Call.of(request.scope)
    if call is None:
        return
    await caller_of(request)
    services: Identity = request.app.state.services[Identity]
    if (entry := call.entry()) is not None and services.audit.strangers.admit(call):
        await services.audit.trail.begin(entry)
        call.intended = True


class Audit:
    """The last byte of an audited answer is sent when what came of the call is on record."""

    def __init__(self, app: ASGIApp, trail: AuditTrail, strangers: Strangers, front: Front) -> None:
        self._app = app
        self._trail = trail
        self._strangers = strangers
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or never_audited(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        call = Call(scope, self._front.client(HTTPConnection(scope)))
        answer = _Answer(call, self._trail, self._strangers, send)

        async def copied() -> Message:
            message = await receive()
            if call.request is not None and message["type"] == "http.request":
                call.request.add(message.get("body", b""))
            return message

        try:
            await self._app(scope, copied, answer.send)
        except Exception:
            call.failed()
            await answer.record()
            raise


class _Answer:
    def __init__(self, call: Call, trail: AuditTrail, strangers: Strangers, send: Send) -> None:
        self._call = call
        self._trail = trail
        self._strangers = strangers
        self._send = send
        self._start: Message | None = None
        self._recorded = False

    async def send(self, message: Message) -> None:
        """The head is held back until there is a body: of a short answer nothing is sent before it is recorded."""
        if message["type"] == "http.response.start":
            headers = {name.lower(): value for name, value in message.get("headers", ())}
            kind, turn = headers.get(b"content-type", b"").decode("latin-1"), headers.get(TURN_HEADER.lower().encode())
            self._call.answered(message["status"], kind, made=None if turn is None else turn.decode("latin-1"))
            self._start = message
            return
        if message["type"] == "http.response.body":
            if self._call.answer is not None:
                self._call.answer.add(message.get("body", b""))
            if not message.get("more_body", False):
                await self.record()
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(start)
        await self._send(message)

    async def record(self) -> None:
        if self._recorded or self._call.route is None or self._call.turned_away:
            return
        self._recorded = True
        await self._call.identify()
        entry = self._call.entry()
        if entry is not None and (self._call.intended or self._call.succeeded or self._strangers.admit(self._call)):
            await self._trail.end(entry)
