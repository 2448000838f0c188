"""Bots, chats and turns, put together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aperag_api.conversation.answers.service import AnswerService
from aperag_api.conversation.bots.service import BotService
from aperag_api.conversation.chats.service import ChatService
from aperag_api.conversation.feedback.service import FeedbackService
from aperag_api.conversation.flows.check import FlowChecker
from aperag_api.conversation.live.relay import PULSE_SECONDS
from aperag_api.conversation.live.relays import TurnRelays
from aperag_api.conversation.openai.service import CompletionService
from aperag_api.conversation.services import Conversation
from aperag_api.conversation.titles.service import TitleService
from aperag_api.conversation.turns.preparation import Preparation
from aperag_api.conversation.turns.service import TurnService, stored_turn

if TYPE_CHECKING:
    from aperag_api.edge.settings import Settings
    from aperag_api.models.prompts.service import PromptService
    from aperag_models.catalog import Models
    from aperag_work.runtime import Runtime
    from aperag_work.scheduler import TaskScheduler


def open_conversation(
    runtime: Runtime, settings: Settings, *, scheduler: TaskScheduler, prompts: PromptService, models: Models
) -> Conversation:
    engine = runtime.engine
    chats = ChatService(engine, runtime.bus, runtime.dispatcher, scheduler)
    bots = BotService(engine, chats, FlowChecker(prompts.templates))
    turns = _turns(runtime, settings, prompts)
    return Conversation(
        answers=AnswerService(bots, chats, turns),
        bots=bots,
        chats=chats,
        completions=CompletionService(bots, chats, turns),
        feedback=FeedbackService(engine),
        titles=TitleService(engine, models),
        turns=turns,
    )


def _turns(runtime: Runtime, settings: Settings, prompts: PromptService) -> TurnService:
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
