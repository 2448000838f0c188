"""Making, changing, publishing and removing providers."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import structlog

from aperag_api.kernel.auth import Role
from aperag_api.kernel.reading import reading
from aperag_api.models.providers import repository
from aperag_api.models.providers.decide import (
    MASK,
    check_access,
    check_changeable,
    check_destination,
    masked,
    not_found,
)
from aperag_api.models.providers.schemas import ProviderList, ProviderOut
from aperag_common import errors
from aperag_common.auth.vault import VaultError
from aperag_common.db.models.llm_provider import PUBLIC
from aperag_models import keys
from aperag_models.refs import LOCAL

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_api.models.providers.repository import ProviderRow
    from aperag_api.models.providers.schemas import ProviderChange, ProviderCreate
    from aperag_common.auth.vault import Vault
    from aperag_common.outbound.guard import Guard

log = structlog.get_logger(__name__)

MOST_PROVIDERS = 100
"""Of one user."""
DEFAULTS: dict[str, Any] = {
    "completion_dialect": "openai",
    "embedding_dialect": "openai",
    "rerank_dialect": "jina_ai",
    "allow_custom_base_url": False,
    "extra": None,
    "api_key": None,
}


@dataclass(frozen=True, slots=True)
class ProviderService:
    """``guard`` knows the addresses that are never asked."""

    engine: AsyncEngine
    vault: Vault
    guard: Guard

    async def listed(self, caller: Caller) -> ProviderList:
        async with reading(self.engine) as conn:
            rows = await repository.listed(conn, caller.user_id, public=caller.role is Role.ADMIN)
        return ProviderList(items=[self._view(row) for row in rows])

    async def get(self, caller: Caller, name: str) -> ProviderOut:
        async with reading(self.engine) as conn:
            return self._view(await accessible(conn, caller, name))

    async def create(self, caller: Caller, wanted: ProviderCreate) -> ProviderOut:
        name = wanted.name or f"provider_{secrets.token_hex(4)}"
        self._check_url(wanted.base_url)
        given = self._given(name, wanted, None)
        async with self.engine.begin() as conn:
            if await repository.count_of(conn, caller.user_id) >= MOST_PROVIDERS:
                message = f"There are {MOST_PROVIDERS} providers already. Delete one that is not needed."
                raise errors.InvalidParameter(message)
            row = await repository.insert(conn, {**DEFAULTS, **given, "name": name, "user_id": caller.user_id})
        if row is None:
            raise errors.ProviderAlreadyExists(f"A provider named {name} already exists. Choose another name.")
        return self._view(row)

    async def update(self, caller: Caller, name: str, wanted: ProviderChange) -> ProviderOut:
        if wanted.base_url is not None:
            self._check_url(wanted.base_url)
        async with self.engine.begin() as conn:
            row = await accessible(conn, caller, name, lock=True)
            check_changeable(row)
            given = self._given(name, wanted, row)
            check_destination(row, wanted.base_url, key_is_given="api_key" in given)
            present = {field: getattr(row, field) for field in repository.FIELDS}
            return self._view(await repository.update(conn, name, {**present, **given}))

    async def publish(self, caller: Caller, name: str) -> ProviderOut:
        async with self.engine.begin() as conn:
            row = await accessible(conn, caller, name, lock=True)
            if row.user_id == PUBLIC:
                raise errors.InvalidParameter(f"Provider {name} is public already")
            return self._view(await repository.publish(conn, name))

    async def remove(self, caller: Caller, name: str) -> bool | None:
        """True where it was there; one that collections are found with stays."""
        async with self.engine.begin() as conn:
            row = await repository.find(conn, name, lock=True)
            if row is None:
                return None
            check_access(caller, row)
            check_changeable(row)
            await check_unused(conn, f"{name}/", f"Provider {name}")
            await repository.remove(conn, name)
        return True

    def _check_url(self, url: str) -> None:
        try:
            self.guard.check_url(httpx.URL(url))
        except (httpx.InvalidURL, UnicodeError) as err:
            message = "base_url is not an address: write it whole, as in https://api.example.org/v1"
            raise errors.InvalidParameter(message) from err
        except errors.Terminal as err:
            raise errors.InvalidParameter(f"base_url: {err.message}") from err

    def _given(self, name: str, wanted: ProviderChange, row: ProviderRow | None) -> dict[str, Any]:
        given = wanted.model_dump(include=set(repository.FIELDS) - {"api_key"}, exclude_none=True)
        key = (wanted.api_key or "").strip()
        if wanted.status == "disable":
            return {**given, "api_key": None}
        if not key or (row is not None and row.api_key is not None and key == self._shown(row)):
            return given
        return {**given, "api_key": self.vault.encrypt(key, context=keys.context(name))}

    def _shown(self, row: ProviderRow) -> str | None:
        if row.api_key is None:
            return None
        try:
            return masked(self.vault.decrypt(row.api_key, context=keys.context(row.name)))
        except VaultError as err:
            log.warning("provider.key_unreadable", provider=row.name, error=str(err))
            return MASK

    def _view(self, row: ProviderRow) -> ProviderOut:
        shown = self._shown(row)
        fields = {field: getattr(row, field) for field in ("name", "user_id", *repository.FIELDS, "created", "updated")}
        enabled = shown is not None or row.name == LOCAL
        return ProviderOut(**{**fields, "api_key": shown, "status": "enable" if enabled else "disable"})


async def accessible(conn: AsyncConnection, caller: Caller, name: str, *, lock: bool = False) -> ProviderRow:
    """Raises where it is not the caller's, or not there."""
    row = await repository.find(conn, name, lock=lock)
    if row is None:
        raise not_found(name)
    check_access(caller, row)
    return row


async def check_unused(conn: AsyncConnection, model_prefix: str, what: str) -> None:
    used = await repository.collections_embedded_with(conn, model_prefix)
    if used:
        message = f"{what} is what {used} collection(s) are searched with. Choose another embedding model there first."
        raise errors.Conflict(message)
