"""The server's question who comes with a token, answered by any gateway."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg
import structlog
from nats.errors import Error as NatsError
from sqlalchemy.exc import SQLAlchemyError

from aperag_api.identity.apikeys.keys import is_api_key
from aperag_api.identity.outsiders.claims import Question
from aperag_common import errors
from aperag_common.bus import accounts
from aperag_common.services import Service
from aperag_common.tasks import end_tasks

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from aperag_api.identity.outsiders.admission import OutsiderAdmission
    from aperag_api.identity.outsiders.claims import Signer
    from aperag_common.bus.connection import Bus

log = structlog.get_logger(__name__)

AT_ONCE = 32
"""Questions that are looked up side by side; the others wait for as long as their clients do."""

NO_KEY = "no API key: give one as the token, or as the password"
NOT_A_KEY = "what was given is no API key: a key is `sk` with a hyphen and 32 hexadecimal characters"
NOT_VALID = "the API key is unknown, revoked or expired, or its user is gone"
CLOSED = "other services may not connect here: APERAG_OUTSIDE__ENABLED is false"
AWAY = "the API key could not be looked up: PostgreSQL does not answer"


class Callout:
    """One gateway of all gets each question. While none is there, the server refuses every outsider after two seconds."""

    def __init__(self, bus: Bus, admission: OutsiderAdmission, signer: Signer, *, enabled: bool) -> None:
        self._bus = bus
        self._admission = admission
        self._signer = signer
        self._enabled = enabled
        self._subscription: Subscription | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def start(self) -> None:
        subscribe = self._bus.nc.subscribe
        self._subscription = await subscribe(accounts.CALLOUT, queue=Service.API, cb=self._on_question)
        await self._bus.nc.flush()

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(NatsError):
                await subscription.unsubscribe()
        await end_tasks(*self._answering)

    async def _on_question(self, message: Msg) -> None:
        task = asyncio.create_task(self._answer(message))
        self._answering.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        """The server refuses a client whose question nobody has answered."""
        self._answering.discard(task)
        if not task.cancelled() and (err := task.exception()) is not None:
            log.error("outsider.answer_failed", exc_info=err)

    async def _answer(self, message: Msg) -> None:
        try:
            question = Question.read(message.data)
        except ValueError as err:
            log.error("outsider.question_unread", error=str(err))  # noqa: TRY400  a stack would show the token
            return
        async with self._places:
            if question.expires < time.time():
                return
            answer = await self._decided(question)
        try:
            await self._bus.nc.publish(message.reply, answer)
        except NatsError as err:
            log.warning("outsider.unanswered", error=repr(err))

    async def _decided(self, question: Question) -> bytes:
        try:
            return await self._let_in(question)
        except errors.Forbidden as err:
            reason = err.message
        except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as err:
            log.warning("outsider.unknown", error=repr(err))
            reason = AWAY
        log.warning("outsider.refused", reason=reason, host=question.host, client=question.client)
        return self._signer.refuse(question, reason)

    async def _let_in(self, question: Question) -> bytes:
        if not self._enabled:
            raise errors.Forbidden(CLOSED)
        if not question.credential:
            raise errors.Forbidden(NO_KEY)
        if not is_api_key(question.credential):
            raise errors.Forbidden(NOT_A_KEY)
        admitted = await self._admission.admit(question)
        if admitted is None:
            raise errors.Forbidden(NOT_VALID)
        key_id = admitted.caller.credential.id
        log.info("outsider.admitted", key_id=key_id, owner=admitted.caller.user_id, client=question.client)
        return self._signer.let_in(question, key_id, admitted.permissions, admitted.until)
