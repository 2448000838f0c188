"""The agent service's composition root."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aperag_agent.completions.resolve import Completions
from aperag_agent.turns.handlers import TurnRuns
from aperag_common.bus import subjects
from aperag_common.bus.worker import Worker, make_broker
from aperag_common.events.commands import RunTurn
from aperag_common.health import HealthServer
from aperag_common.live.sender import Sender
from aperag_common.process import until_stopped
from aperag_common.runtime import Runtime, open_runtime
from aperag_common.work.driven import DrivenRows
from aperag_common.work.failures import record_poison
from aperag_common.work.policy import WorkPolicy
from aperag_common.work.presence import present
from aperag_models.catalog import Models

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from aperag_agent.settings import Settings

SERVICE = "agent"


def make_runs(runtime: Runtime, settings: Settings, catalog: Models, sender: Sender) -> TurnRuns:
    policy = WorkPolicy.of(settings.work)
    rows = DrivenRows(runtime.engine, runtime.courier, policy, runtime.metrics, runtime.instance, source=SERVICE)
    return TurnRuns(
        rows, sender, Completions(catalog), settings.limits, settings.mcp_url, looks_every=settings.work.beat
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
        runs = make_runs(runtime, settings, models, sender)
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
        await models.close()
        await server.stop()
