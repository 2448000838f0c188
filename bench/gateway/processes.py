"""The two servers that are compared, started and ended by the benchmark."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psutil

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from aperag_testing.stack import Stack

PATIENCE = 60.0
LOOK_SECONDS = 0.05


@asynccontextmanager
async def bare(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """Its address and pid."""
    port_file = folder / "bare.port"
    async with _running("bench.gateway.bare", [str(port_file)], None, port_file, "/api/v1/nothing") as found:
        yield found


@asynccontextmanager
async def gateway(stack: Stack, folder: Path) -> AsyncIterator[tuple[str, int]]:
    """Another gateway of the stack, in the environment of its first one."""
    port_file = folder / "gateway.port"
    env = psutil.Process(int(stack.unit("api")["pid"])).environ() | {
        "APERAG_HTTP__PORT": "0",
        "APERAG_HTTP__PORT_FILE": str(port_file),
        "APERAG_INSTANCE": "bench",
        "APERAG_INCARNATION": "",
        "APERAG_PREDECESSOR": "",
    }
    async with _running("bench.gateway.server", [], env, port_file, "/readyz") as found:
        yield found


@asynccontextmanager
async def _running(
    module: str, arguments: Sequence[str], env: Mapping[str, str] | None, port_file: Path, ready: str
) -> AsyncIterator[tuple[str, int]]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, env=env)
    try:
        try:
            async with asyncio.timeout(PATIENCE):
                url = f"http://127.0.0.1:{await _port(port_file, process)}"
                while not await _answers(url, ready):
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise BenchError(f"{module} did not start", hint=f"run `python -m {module}` by hand") from None
        yield url, process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _port(port_file: Path, process: asyncio.subprocess.Process) -> int:
    while process.returncode is None:
        if (port := _written(port_file)) is not None:
            return port
        await asyncio.sleep(LOOK_SECONDS)
    raise BenchError("a server of the benchmark ended at once", hint="its error stands above")


def _written(port_file: Path) -> int | None:
    text = port_file.read_text(encoding="ascii").strip() if port_file.exists() else ""
    return int(text) if text else None


async def _answers(url: str, path: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    except ConnectionError:
        return False
    writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    status = await reader.readline()
    writer.close()
    return status.startswith(b"HTTP/1.1 200 ")
