"""``python -m bench.gateway.server``: the gateway as its process runs it, with a route that does nothing."""

from __future__ import annotations

from aperag_api.__main__ import serve
from aperag_api.edge import routers
from aperag_api.edge.settings import Settings
from aperag_common.process import run_process
from bench.gateway import nothing

if __name__ == "__main__":
    routers.ROUTERS += (nothing.router,)  # type: ignore[assignment]  # a longer tuple
    run_process(serve(Settings()))
