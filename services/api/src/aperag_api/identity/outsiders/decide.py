"""From a key to what a client that connects to NATS with it may do; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.kernel.auth import Role
from aperag_common import subjects
from aperag_common.bus import accounts
from aperag_common.bus.permissions import Permissions, inbox_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aperag_api.kernel.auth import Caller


def permissions_of(caller: Caller, subscriptions: Iterable[str]) -> Permissions:
    """``subscriptions`` are the ids of the durable ones that the caller may read.

    An event's subject names no collection, so a key that is limited to collections reads none here; over HTTP the
    gateway picks out those that it may see.
    """
    publish: list[str] = []
    subscribe = [f"{inbox_prefix(caller.credential.id)}.>"]
    if caller.role is not Role.RO:
        publish += _ingest(caller)
    if caller.collection_ids is None:
        subscribe.append(subjects.ALL_EVENTS if reads_all_owners(caller) else subjects.owner_events(caller.user_id))
        for subscription in subscriptions:
            publish += accounts.pulls_from(accounts.consumer_of(subscription))
    return Permissions(tuple(publish), tuple(subscribe))


def reads_all_owners(caller: Caller) -> bool:
    return caller.role is Role.ADMIN


def _ingest(caller: Caller) -> list[str]:
    """A collection that the owner has yet to make is among those of a key without limit."""
    if caller.collection_ids is None:
        return [subjects.owner_ingest(caller.user_id)]
    return [subjects.ingest(caller.user_id, it) for it in sorted(caller.collection_ids)]
