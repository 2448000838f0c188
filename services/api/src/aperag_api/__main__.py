"""``python -m aperag_api``: the gateway as a process."""

from __future__ import annotations

import asyncio

from aperag_api.edge.app import make_app, open_gateway
from aperag_api.edge.settings import Settings
from aperag_api.knowledge.ingest.assembly import make_worker
from aperag_common.http.server import HttpServer
from aperag_common.process import run_process, until_stopped
from aperag_retrieval.embedding import in_process
from aperag_retrieval.local import default_model
from aperag_retrieval.used import local_models_used
from aperag_work.heartbeat import present
from aperag_work.runtime import open_runtime


async def serve(settings: Settings) -> None:
    encoders = {encoder.model: encoder for encoder in in_process()}
    async with (
        open_runtime(settings, service="api") as runtime,
        open_gateway(runtime, settings, encoders=list(encoders.values())) as gateway,
    ):
        # Loads the encoders beside the start; else the first search would wait for them.
        used = await local_models_used(runtime.engine, default_model(fast=settings.models.fast))
        warming = asyncio.gather(*(encoders[model].embed(("warm",), as_queries=True) for model in used))
        engine = runtime.job_engine(settings)
        worker = make_worker(runtime, engine, gateway.knowledge.ingest)
        # Requests are answered without it.
        runtime.health.add("consumers", worker.moving, critical=False)
        server = HttpServer(settings.http, make_app(gateway, runtime, settings), sockets=True)
        await server.start()
        await engine.start(predecessor=settings.predecessor)
        await worker.start()
        async with present(runtime.engine, runtime.service, runtime.instance, worker.loads):
            await until_stopped()
        warming.cancel()
        # Event streams are endless: the server could not drain with them open.
        await gateway.operations.feed.close()
        await asyncio.gather(server.stop(), worker.stop())
        await engine.stop()


if __name__ == "__main__":
    run_process(serve(Settings()))
