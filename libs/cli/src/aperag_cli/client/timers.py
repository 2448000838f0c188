"""What operators ask of timers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aperag_cli.client.errors import NotFound
from aperag_cli.client.http import segment
from aperag_cli.client.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from aperag_cli.client.errors import ApiError
    from aperag_cli.client.http import Http

LOOK_SECONDS = 0.5


async def timers(http: Http) -> list[dict[str, Any]]:
    return list((await http.json("GET", "/admin/timers"))["items"])


async def run(http: Http, name: str) -> dict[str, Any]:
    return dict(await http.json("POST", f"/admin/timers/{segment(name)}/run"))


async def ended(http: Http, asked: dict[str, Any], *, told: Callable[[ApiError], None]) -> dict[str, Any]:
    """The timer once the run that ``asked`` was answered for has ended, however it did."""
    while True:
        found = await Patience().get(lambda: timers(http), told=told)
        timer = next((it for it in found if it["name"] == asked["name"]), None)
        if timer is None:
            message = f"timer {asked['name']} not found"
            raise NotFound(message)
        if timer["runs"] > asked["runs"]:
            return timer
        await asyncio.sleep(LOOK_SECONDS)
