"""The agent service's composition root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_agent.completions.resolve import Completions
from aperag_agent.gateway.searches import connect
from aperag_agent.handlers import TurnRuns
from aperag_agent.live.sender import Sender
from aperag_agent.turns.events import gave_up
from aperag_agent.turns.repository import lock, write_ends
from aperag_common import subjects
from aperag_common.jobs.declared import TURN
from aperag_common.templates.rendering import Templates
from aperag_models.catalog import Models
from aperag_work.runtime import Runtime, open_runtime

if TYPE_CHECKING:
    import httpx
    from nats.aio.msg import Msg

    from aperag_agent.settings import Settings

SERVICE = "agent"


def make_runs(
    runtime: Runtime, settings: Settings, catalog: Models, sender: Sender, gateway: httpx.AsyncClient, flows: Templates
) -> TurnRuns:
    return TurnRuns(
        engine=runtime.engine,
        metrics=runtime.metrics,
        sender=sender,
        completions=Completions(catalog),
        limits=settings.limits,
        mcp_url=settings.mcp_url,
        gateway=gateway,
        templates=flows,
        looks_every=settings.work.beat,
    )


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM, then gives back what it holds: another agent begins these turns anew."""
    async with open_runtime(settings, service=SERVICE) as runtime:
        models = Models.of(runtime.engine, settings)
        sender = Sender(runtime.bus.nc)
        gateway, templates = connect(settings.api_url), Templates(of_one=None, processes=2)
        runs = make_runs(runtime, settings, models, sender, gateway, templates)
        engine = runtime.job_engine(settings)
        engine.handle(TURN, runs.run, write=write_ends, lock=lock, gave_up=gave_up, slots=settings.turns_at_once)

        async def on_cancel(message: Msg) -> None:
            runs.cancel(subjects.parse_live_turn(message.subject)[0])

        await runtime.bus.nc.subscribe(subjects.ALL_TURN_CANCELS, cb=on_cancel)
        await runtime.work_until_stopped(settings, engine, runtime.worker(engine))
        await sender.close()
        await gateway.aclose()
        await templates.close()
        await models.close()
