"""Whose provider it is, what of its key is shown; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aperag_api.kernel.auth import Role
from aperag_common import errors
from aperag_common.db.models.llm_provider import PUBLIC
from aperag_models.refs import LOCAL

if TYPE_CHECKING:
    from aperag_api.kernel.auth import Caller
    from aperag_api.models.providers.repository import ProviderRow

MASK = "****"
SHOWN = 4
LONG_ENOUGH = 16
"""A shorter key is not shown in part: too little of it would be left to guess."""


def check_access(caller: Caller, row: ProviderRow) -> None:
    """An administrator has the public ones and their own, everybody else their own only."""
    if row.user_id == caller.user_id or (row.user_id == PUBLIC and caller.role is Role.ADMIN):
        return
    if row.user_id == PUBLIC:
        raise errors.Forbidden(f"Provider {row.name} belongs to the installation: administrators change it")
    raise not_found(row.name)


def check_changeable(row: ProviderRow) -> None:
    if row.name == LOCAL:
        raise errors.InvalidParameter(f"Provider {LOCAL} is part of the services and stays as it is")


def check_destination(row: ProviderRow, base_url: str | None, *, key_is_given: bool) -> None:
    """A key goes only where it was meant to go: whoever may change the address need not know the key."""
    if base_url is None or row.api_key is None or key_is_given:
        return
    before, after = _origin(row.base_url), _origin(base_url)
    if before != after:
        message = f"The key of provider {row.name} was given for {before}. Send api_key again to use it at {after}."
        raise errors.InvalidParameter(message)


def _origin(url: str) -> str:
    """As browsers know it: scheme, host and port."""
    parts = urlsplit(url.strip())
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def not_found(name: str) -> errors.NotFound:
    return errors.NotFound(f"Provider {name} not found", code="LLM_PROVIDER_NOT_FOUND")


def masked(key: str) -> str:
    return f"{key[:SHOWN]}{MASK}{key[-SHOWN:]}" if len(key) >= LONG_ENOUGH else MASK
