"""Outsiders of this installation: let in while their keys are valid, and no longer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError

from aperag_api.identity.apikeys import ending
from aperag_api.identity.outsiders import repository
from aperag_api.identity.outsiders.schemas import NatsAccess
from aperag_api.kernel.auth import CredentialKind
from aperag_api.kernel.reading import reading
from aperag_common import errors
from aperag_common.bus.permissions import inbox_prefix
from aperag_common.tasks import end_tasks, repeat
from aperag_work.database import FAILURES

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.identity.outsiders.admission import OutsiderAdmission
    from aperag_api.identity.outsiders.callout import Callout
    from aperag_api.identity.outsiders.connections import Connections
    from aperag_api.identity.settings import OutsideSettings
    from aperag_api.kernel.auth import Caller
    from aperag_api.kernel.revocations import Revocations
    from aperag_work.dispatcher import Dispatcher

log = structlog.get_logger(__name__)

LOOKED_AGAIN_SECONDS = 1.0


@dataclass(slots=True)
class OutsiderService:
    """``callout`` is None where this gateway cannot sign who outsiders are."""

    engine: AsyncEngine
    dispatcher: Dispatcher
    revocations: Revocations
    admission: OutsiderAdmission
    connections: Connections
    callout: Callout | None
    settings: OutsideSettings
    authority: str | None
    _sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self.callout is not None:
            await self.callout.start()
            self.revocations.add(self)
        sweeps = repeat(
            self._sweep,
            every=self.settings.sweep_every.total_seconds(),
            failed="outsiders.not_swept",
            expected=(NatsError, *FAILURES),
        )
        self._sweeping = asyncio.create_task(sweeps)

    async def close(self) -> None:
        """May be repeated."""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is None:
            return
        await end_tasks(sweeping)
        if self.callout is not None:
            self.revocations.remove(self)
            await self.callout.close()

    async def revoked(self, key_id: str) -> None:
        """Looks twice: a client that was just being let in is not among the connections yet."""
        for pause in (0.0, LOOKED_AGAIN_SECONDS):
            await asyncio.sleep(pause)
            try:
                await self.connections.end(await self.connections.find(key_id))
            except NatsError as err:  # the sweep ends what is left
                log.warning("outsiders.not_ended", key_id=key_id, error=repr(err))

    async def missed(self) -> None:
        """Ends what was opened with a key that is no longer valid, whoever let it in and however the key ended."""
        found = await self.connections.find()
        if found:
            async with reading(self.engine) as conn:
                valid = await repository.valid(conn, {it.key_id for it in found})
            await self.connections.end(it for it in found if it.key_id not in valid)

    async def end_expired(self) -> None:
        """Tells of keys whose time has come; the server ends their connections by itself."""
        self.dispatcher.deliver(await ending.expired(self.engine))

    async def access(self, caller: Caller) -> NatsAccess:
        """How the caller connects, and what the connection may do."""
        if caller.credential.kind is not CredentialKind.API_KEY:
            raise errors.Forbidden(
                "A connection to NATS is opened with an API key: ask with the key that is to open it"
            )
        permissions = await self.admission.permissions(caller)
        return NatsAccess(
            enabled=self.settings.enabled and self.callout is not None,
            servers=list(self.settings.servers),
            authority=self.authority,
            key_id=caller.credential.id,
            owner=caller.user_id,
            inbox_prefix=inbox_prefix(caller.credential.id),
            publish=list(permissions.publish),
            subscribe=list(permissions.subscribe),
        )

    async def _sweep(self) -> None:
        """Beside the events: a key may expire unseen, and what ended a key may have got lost on its way."""
        await self.end_expired()
        if self.callout is not None:
            await self.missed()
