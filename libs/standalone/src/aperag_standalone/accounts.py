"""The accounts of the NATS server as its configuration has them, and the store of a server from before there were any."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import structlog

from aperag_common.bus import accounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from aperag_common.bus.accounts import Shared

log = structlog.get_logger(__name__)

DEFAULT_ACCOUNT = "$G"


def block(users: Sequence[dict[str, Any]], issuer: str | None) -> dict[str, Any]:
    """``issuer`` is the public key under which the gateway says who outsiders are; None: nobody from outside connects.

    Services are known to the server itself, and never wait for the gateway.
    """
    app = {"jetstream": "enabled", "users": list(users)}
    settings: dict[str, Any] = {
        "system_account": accounts.SYSTEM,
        "accounts": {
            accounts.SYSTEM: {"exports": _exports(accounts.FOR_SERVICES, to=accounts.APP)},
            accounts.APP: app
            | {
                "imports": _imports(accounts.FOR_SERVICES, of=accounts.SYSTEM),
                "exports": _exports(accounts.FOR_OUTSIDERS, to=accounts.OUTSIDE),
            },
            accounts.OUTSIDE: {"imports": _imports(accounts.FOR_OUTSIDERS, of=accounts.APP)},
        },
    }
    if issuer is not None:
        services = [user["nkey"] for user in users]
        callout = {"issuer": issuer, "auth_users": services, "account": accounts.APP}
        settings["authorization"] = {"auth_callout": callout}
    return settings


def adopt_store(directory: Path) -> None:
    """What the default account has stored becomes APP's, at the first start with accounts; the server must not run."""
    before, now = directory / DEFAULT_ACCOUNT, directory / accounts.APP
    if not before.is_dir():
        return
    if any(now.glob("streams/*")):
        log.warning("store.not_adopted", store=str(before), reason=f"{now} has streams already")
        return
    if now.is_dir():
        shutil.rmtree(now)
    before.rename(now)
    log.info("store.adopted", store=str(now))


def _exports(shared: Iterable[Shared], *, to: str) -> list[dict[str, Any]]:
    return [
        {_kind(it): it.subject, "accounts": [to]} | ({"response_type": "stream"} if it.many else {}) for it in shared
    ]


def _imports(shared: Iterable[Shared], *, of: str) -> list[dict[str, Any]]:
    return [
        {_kind(it): {"account": of, "subject": it.subject}} | ({} if it.local is None else {"to": it.local})
        for it in shared
    ]


def _kind(shared: Shared) -> str:
    return "stream" if shared.stream else "service"
