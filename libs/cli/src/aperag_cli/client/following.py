"""Following documents until each one is searchable or has failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aperag_cli.client.errors import NotFound
from aperag_cli.client.events import RESET
from aperag_cli.client.patience import Patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_cli.client.api import Api
    from aperag_cli.client.events import Subscription
    from aperag_cli.client.tracks import Track, Tracks

SILENCE = 15.0
"""Seconds without news of these documents after which their state is read, in case some was missed."""
FEW = 20
"""So many documents are read one by one; for more the whole collection is listed."""


async def follow(api: Api, collection_id: str, tracks: Tracks, events: Subscription) -> AsyncIterator[Track]:
    """Each document whenever something about it changes, until all are settled; bears a gateway that restarts."""
    clock = asyncio.get_running_loop().time
    heard = clock()
    while not tracks.all_settled:
        event = await events.next(max(0.0, heard + SILENCE - clock()))
        if event is None or event.type == RESET:
            changed = await Patience().get(lambda: read(api, collection_id, tracks), told=lambda _: None)
            heard = clock()
        else:
            track = tracks.apply(event)
            changed = [] if track is None else [track]
        if changed:
            heard = clock()  # what happens to other documents is silence too
        for each in changed:
            yield each


async def read(api: Api, collection_id: str, tracks: Tracks) -> list[Track]:
    """Take the state of what is not settled from the gateway, where a document that is gone has failed; what is new."""
    before = {id_: _state(track) for id_, track in tracks.by_id.items()}
    open_ = {id_ for id_, track in tracks.by_id.items() if not track.settled}
    if len(open_) > FEW:
        found = [it for it in await api.documents(collection_id) if it["id"] in open_]
    else:
        found = []
        for id_ in sorted(open_):
            try:
                found.append(await api.document(collection_id, id_))
            except NotFound:
                continue
    tracks.read(found)
    tracks.lose(open_ - {it["id"] for it in found})
    return [track for id_, track in tracks.by_id.items() if _state(track) != before[id_]]


def _state(track: Track) -> tuple[object, ...]:
    return frozenset(track.reached), track.failure, track.settled
