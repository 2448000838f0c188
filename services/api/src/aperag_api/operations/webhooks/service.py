"""Making, changing and removing webhook endpoints, and their secrets."""

from __future__ import annotations

import base64
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import httpx

from aperag_api.kernel.reading import reading
from aperag_api.operations.webhooks import repository
from aperag_api.operations.webhooks.schemas import WebhookList, WebhookOut, WebhookWithSecret
from aperag_common import errors, ids
from aperag_common.auth.encrypted import WEBHOOK_PREVIOUS_SECRET, WEBHOOK_SECRET
from aperag_common.auth.vault import VaultError
from aperag_common.db.models.webhook import DisabledReason
from aperag_common.events import facts
from aperag_common.events.filters import unknown
from aperag_common.outbound.failures import BlockedAddress

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.operations.webhooks.repository import WebhookRow
    from aperag_api.operations.webhooks.schemas import WebhookChange
    from aperag_api.operations.webhooks.settings import WebhookSettings
    from aperag_common.auth.vault import Vault
    from aperag_common.outbound.guard import Guard

SECRET_PREFIX = "whsec_"  # noqa: S105  of every secret
SECRET_BYTES = 32
ALLOW = "An administrator may allow it with APERAG_OUTBOUND__ALLOW or APERAG_OUTBOUND__ALLOW_PRIVATE"


@dataclass(frozen=True, slots=True)
class WebhookService:
    """``guard`` knows the addresses that are never asked; ``vault`` is the one that the webhooks service opens."""

    engine: AsyncEngine
    vault: Vault
    guard: Guard
    settings: WebhookSettings

    async def create(self, owner: str, wanted: WebhookChange) -> WebhookWithSecret:
        await self._check_url(wanted.url)
        webhook_id, secret = ids.new_webhook_id(), new_secret()
        async with self.engine.begin() as conn:
            if await repository.count(conn, owner) >= self.settings.most:
                message = f"There are {self.settings.most} webhooks already: delete one that is not needed"
                raise errors.InvalidParameter(message)
            given = await _checked(conn, owner, wanted)
            row = await repository.insert(conn, webhook_id, owner, self._sealed(webhook_id, secret), given)
        return WebhookWithSecret(**view(row).model_dump(), secret=secret)

    async def list(self, owner: str) -> WebhookList:
        async with reading(self.engine) as conn:
            return WebhookList(items=[view(row) for row in await repository.list_own(conn, owner)])

    async def get(self, owner: str, webhook_id: str) -> WebhookOut:
        async with reading(self.engine) as conn:
            return view(found(await repository.find(conn, owner, webhook_id), webhook_id))

    async def update(self, owner: str, webhook_id: str, wanted: WebhookChange) -> WebhookOut:
        async with reading(self.engine) as conn:
            before = found(await repository.find(conn, owner, webhook_id), webhook_id)
        if before.url != wanted.url:
            await self._check_url(wanted.url)
        async with self.engine.begin() as conn:
            given = await _checked(conn, owner, wanted)
            return view(found(await repository.update(conn, owner, webhook_id, given), webhook_id))

    async def delete(self, owner: str, webhook_id: str) -> None:
        async with self.engine.begin() as conn:
            if not await repository.delete(conn, owner, webhook_id):
                raise not_found(webhook_id)

    async def rotate(self, owner: str, webhook_id: str) -> WebhookWithSecret:
        secret = new_secret()
        async with self.engine.begin() as conn:
            before = found(await repository.find(conn, owner, webhook_id, lock=True), webhook_id)
            row = await repository.rotate(
                conn,
                owner,
                webhook_id,
                secret=self._sealed(webhook_id, secret),
                previous=self._as_previous(before),
                overlap=self.settings.overlap,
            )
        return WebhookWithSecret(**view(row).model_dump(), secret=secret)

    async def enable(self, owner: str, webhook_id: str) -> WebhookOut:
        async with self.engine.begin() as conn:
            return view(found(await repository.enable(conn, owner, webhook_id), webhook_id))

    async def disable(self, owner: str, webhook_id: str) -> WebhookOut:
        async with self.engine.begin() as conn:
            row = await repository.disable(conn, owner, webhook_id, DisabledReason.OWNER)
            return view(found(row, webhook_id))

    def _sealed(self, webhook_id: str, secret: str) -> str:
        return self.vault.encrypt(secret, context=WEBHOOK_SECRET.context(webhook_id))

    def _as_previous(self, row: WebhookRow) -> str | None:
        """Each column has a context of its own. A secret that cannot be read any more has signed nothing for long."""
        try:
            secret = self.vault.decrypt(row.secret, context=WEBHOOK_SECRET.context(row.id))
        except VaultError:
            return None
        return self.vault.encrypt(secret, context=WEBHOOK_PREVIOUS_SECRET.context(row.id))

    async def _check_url(self, url: str) -> None:
        """Looked up now, so that a slip is told at once; each delivery is checked again."""
        try:
            await self.guard.check(httpx.URL(url))
        except BlockedAddress as err:
            raise errors.InvalidParameter(f"{err.message}. {ALLOW}") from err
        except errors.ApeRAGError as err:
            raise errors.InvalidParameter(err.message) from err
        except (httpx.InvalidURL, UnicodeError) as err:
            raise errors.InvalidParameter(f"{url[:100]!r} is not an http or https address") from err


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def view(row: WebhookRow) -> WebhookOut:
    values = asdict(row)
    del values["secret"]
    return WebhookOut(enabled=row.disabled_at is None, previous_secret_until=values.pop("previous_until"), **values)


def found(row: WebhookRow | None, webhook_id: str) -> WebhookRow:
    if row is None:
        raise not_found(webhook_id)
    return row


def not_found(webhook_id: str) -> errors.NotFound:
    return errors.NotFound(f"Webhook {webhook_id} not found")


async def _checked(conn: AsyncConnection, owner: str, wanted: WebhookChange) -> dict[str, Any]:
    """What is stored; raises where a type or a collection does not exist."""
    if strange := unknown(wanted.types):
        types = ", ".join(sorted(fact.type_name for fact in facts.FACTS))
        message = (
            f"There are no events of the type {strange[0]!r}: name one of {types}, or a whole kind as in document.*"
        )
        raise errors.InvalidParameter(message)
    given = wanted.model_dump()
    if wanted.collection_ids is not None:
        given["collection_ids"] = sorted(set(wanted.collection_ids))
        owned = await repository.owned_collections(conn, owner, given["collection_ids"])
        if missing := [it for it in given["collection_ids"] if it not in owned]:
            raise errors.CollectionNotFound(f"Collection {missing[0]} not found among your own")
    return {**given, "types": sorted(set(wanted.types))}
