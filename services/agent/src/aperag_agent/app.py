"""The agent service's composition root."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aperag_agent.completions.resolve import Completions
from aperag_agent.gateway.searches import connect
from aperag_agent.turns.handlers import TurnRuns
from aperag_common.bus import subjects
from aperag_common.bus.worker import Worker, make_broker
from aperag_common.events.commands import RunTurn
from aperag_common.health import HealthServer
from aperag_common.live.sender import Sender
from aperag_common.process import until_stopped
from aperag_common.runtime import Runtime, open_runtime
from aperag_common.templates.rendering import Templates
from aperag_common.work.driven import DrivenRows
from aperag_common.work.failures import record_poison
from aperag_common.work.policy import WorkPolicy
from aperag_common.work.presence import present
from aperag_models.catalog import Models

if TYPE_CHECKING:
    import httpx
    from nats.aio.msg import Msg

    from aperag_agent.settings import Settings

SERVICE = "agent"


def make_runs(
    runtime: Runtime, settings: Settings, catalog: Models, sender: Sender, gateway: httpx.AsyncClient, flows: Templates
) -> TurnRuns:
    policy = WorkPolicy.of(settings.work)
    rows = DrivenRows(runtime.engine, runtime.courier, policy, runtime.metrics, runtime.instance, source=SERVICE)
    return TurnRuns(
        rows=rows,
        sender=sender,
        completions=Completions(catalog),
        limits=settings.limits,
        mcp_url=settings.mcp_url,
        gateway=gateway,
        templates=flows,
        looks_every=settings.work.beat,
    )


def make_worker(runtime: Runtime, settings: Settings, runs: TurnRuns) -> Worker:
    async def run_turn(command: RunTurn) -> None:
        await runs.handle(command)

    poison = partial(record_poison, runtime.engine, runtime.metrics)
    beat = settings.work.beat.total_seconds()
    worker = Worker(make_broker(settings.nats.url), runtime.bus, runtime.metrics, poison, beat=beat)
    worker.subscribe("agent-turn", run_turn, slots=settings.turns_at_once)
    return worker


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM, then gives back what it holds: another agent begins these turns anew."""
    async with open_runtime(settings, service=SERVICE) as runtime:
        models = Models.of(runtime.engine, settings)
        sender = Sender(runtime.bus.nc)
        gateway, templates = connect(settings.api_url), Templates(most_waiting=None, processes=2)
        runs = make_runs(runtime, settings, models, sender, gateway, templates)
        worker = make_worker(runtime, settings, runs)

        async def on_cancel(message: Msg) -> None:
            runs.cancel(subjects.parse_live_turn(message.subject)[0])

        await runtime.bus.nc.subscribe(subjects.ALL_TURN_CANCELS, cb=on_cancel)
        runtime.health.add("consumers", worker.moving)
        server = HealthServer(settings.http, runtime.health, runtime.metrics)
        await server.start()
        await worker.start()
        async with present(runtime.engine, SERVICE, runtime.instance, worker.loads):
            await until_stopped()
        await worker.stop()
        await sender.close()
        await gateway.aclose()
        await templates.close()
        await models.close()
        await server.stop()
