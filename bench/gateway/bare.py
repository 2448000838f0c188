"""``python -m bench.gateway.bare PORT_FILE``: the same answer from FastAPI and uvicorn alone, at their quickest."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from bench.gateway.nothing import PATH, Nothing

app = FastAPI()


@app.get(PATH)
async def nothing() -> Nothing:
    return Nothing()


def main(port_file: Path) -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port_file.write_text(str(bound.getsockname()[1]), encoding="ascii")
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    server = uvicorn.Server(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[bound]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
