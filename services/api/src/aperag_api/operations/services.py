"""What the routes of tasks, events, webhooks, traces and the insides of the installation are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends

from aperag_api.kernel.services import provided

if TYPE_CHECKING:
    from aperag_api.operations.dead_letters.service import DeadLetterService
    from aperag_api.operations.events.feed import Feed
    from aperag_api.operations.events.service import EventService
    from aperag_api.operations.installation.service import InstallationService
    from aperag_api.operations.jobs.service import JobService
    from aperag_api.operations.queues.service import QueueService
    from aperag_api.operations.subscriptions.keeper import SubscriptionKeeper
    from aperag_api.operations.subscriptions.service import SubscriptionService
    from aperag_api.operations.tasks.service import TaskService
    from aperag_api.operations.timelines.service import TimelineService
    from aperag_api.operations.timers.service import TimerService
    from aperag_api.operations.traces.intake import SpanIntake
    from aperag_api.operations.traces.service import TraceService
    from aperag_api.operations.webhooks.deliveries import DeliveryService
    from aperag_api.operations.webhooks.service import WebhookService


@dataclass(frozen=True, slots=True)
class Operations:
    dead_letters: DeadLetterService
    deliveries: DeliveryService
    events: EventService
    feed: Feed
    installation: InstallationService
    jobs: JobService
    queues: QueueService
    spans: SpanIntake
    subscription_keeper: SubscriptionKeeper
    subscriptions: SubscriptionService
    tasks: TaskService
    timelines: TimelineService
    timers: TimerService
    traces: TraceService
    webhooks: WebhookService


Services = Annotated[Operations, Depends(provided(Operations))]
