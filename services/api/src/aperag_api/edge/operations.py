"""What goes on inside, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.operations.dead_letters.service import DeadLetterService
from aperag_api.operations.events.feed import Feed
from aperag_api.operations.events.service import EventService
from aperag_api.operations.installation.mineru import MinerU
from aperag_api.operations.installation.service import InstallationService
from aperag_api.operations.jobs.service import JobService
from aperag_api.operations.queues.service import QueueService
from aperag_api.operations.services import Operations
from aperag_api.operations.subscriptions.consumers import Consumers
from aperag_api.operations.subscriptions.keeper import SubscriptionKeeper
from aperag_api.operations.subscriptions.service import SubscriptionService
from aperag_api.operations.tasks.service import TaskService
from aperag_api.operations.timelines.service import TimelineService
from aperag_api.operations.timers.service import TimerService
from aperag_api.operations.traces.intake import SpanIntake
from aperag_api.operations.traces.service import TraceService
from aperag_api.operations.webhooks.deliveries import DeliveryService
from aperag_api.operations.webhooks.service import WebhookService
from aperag_common.telemetry.tracing import collector
from aperag_work.policy import WorkPolicy
from aperag_work.scheduler import JobScheduler

if TYPE_CHECKING:
    from aperag_api.edge.settings import Settings
    from aperag_api.kernel.revocations import Revocations
    from aperag_api.kernel.streaming.fanout import Fanout
    from aperag_common.auth.vault import Vault
    from aperag_common.outbound.client import OutboundClient
    from aperag_work.runtime import Runtime


def open_operations(
    runtime: Runtime,
    settings: Settings,
    *,
    vault: Vault,
    provider_keys: Vault,
    fanout: Fanout,
    client: OutboundClient,
    revocations: Revocations,
) -> Operations:
    """``provider_keys`` is the vault that other services open too."""
    engine, bus, dispatcher, work = runtime.engine, runtime.bus, runtime.dispatcher, settings.work
    feed = Feed(bus, engine, fanout, revocations, runtime.metrics)
    consumers = Consumers(bus)
    return Operations(
        dead_letters=DeadLetterService(engine, dispatcher, work, settings.interactive_documents),
        deliveries=DeliveryService(engine, dispatcher, work),
        events=EventService(engine, bus, feed, fanout, settings.event_heartbeat),
        feed=feed,
        installation=InstallationService(engine, vault, MinerU(client, settings.mineru_url)),
        jobs=JobService(engine, dispatcher, work, settings.interactive_documents),
        queues=QueueService(engine, bus),
        spans=SpanIntake(runtime.telemetry, settings.traces_token),
        subscription_keeper=SubscriptionKeeper(bus, engine, consumers),
        subscriptions=SubscriptionService(engine, consumers, settings.max_subscriptions_per_user),
        tasks=TaskService(engine, dispatcher, JobScheduler(engine, work), work.first_due),
        timelines=TimelineService(engine, bus, WorkPolicy.of(work), work.in_flight_per_owner, _traces(settings)),
        timers=TimerService(engine, dispatcher.publisher),
        traces=TraceService(engine, bus),
        webhooks=WebhookService(engine, provider_keys, client.guard, settings.webhooks),
    )


def _traces(settings: Settings) -> str:
    """Where a person reads the traces that timelines name."""
    if not settings.otel_enabled:
        return "nowhere: tracing is off"
    if collector(settings) is not None:
        return "in the OpenTelemetry collector"
    return "/api/v1/traces/{trace_id}" if settings.telemetry.spans_to_nats else "nowhere: spans are not kept"
