"""How this gateway begins and follows turns, by its settings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aperag_api.turns.preparation import Preparation
from aperag_api.turns.service import TurnService, stored_turn
from aperag_common.live.relay import PULSE_SECONDS
from aperag_common.live.relays import TurnRelays

if TYPE_CHECKING:
    from aperag_api.prompts.service import PromptService
    from aperag_api.settings import Settings
    from aperag_work.runtime import Runtime


def turn_service(runtime: Runtime, settings: Settings, prompts: PromptService) -> TurnService:
    metrics = runtime.metrics
    relays = TurnRelays(
        runtime.bus.nc,
        partial(stored_turn, runtime.engine),
        pulse=min(PULSE_SECONDS, settings.event_heartbeat.total_seconds()),
        on_gap=metrics.turn_gaps.inc,
    )
    metrics.followed_turns.set_function(lambda: len(relays))
    return TurnService(
        engine=runtime.engine,
        dispatcher=runtime.dispatcher,
        bus=runtime.bus,
        relays=relays,
        preparation=Preparation(runtime.engine, prompts),
        settings=settings.turns,
        first_due=settings.work.first_due,
        heartbeat=settings.event_heartbeat,
    )
