"""The stack: which processes there are, in which order they start and stop."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog

from aperag_common.services import Service, role
from aperag_standalone import nats, ports, postgres
from aperag_standalone.certificates import Certificate
from aperag_standalone.errors import StartFailed
from aperag_standalone.home import Home
from aperag_standalone.supervisor import state
from aperag_standalone.supervisor.on_demand import HAS_WEBHOOKS, Looking, OnDemand
from aperag_standalone.supervisor.options import ADMIN, CONSOLE_PORT, MCP_PORT, NATS_PORT
from aperag_standalone.supervisor.rotation import RotatingLog
from aperag_standalone.supervisor.services import ServiceProcess, client_environment, gateways, shared_environment
from aperag_standalone.supervisor.state import StackState, StackStatus
from aperag_standalone.supervisor.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aperag_standalone.supervisor.options import StackOptions
    from aperag_standalone.supervisor.unit import Runnable

log = structlog.get_logger(__name__)

DATABASE = "aperag"
HOSTS = (ports.LOOPBACK, "localhost")
CLIENTS = {"mcp": "aperag_mcp", "console": "aperag_console"}
"""Services that know nothing but the gateway: no identity at NATS, no role at PostgreSQL."""
MODULES = {
    Service.AGENT: "aperag_agent",
    Service.API: "aperag_api",
    Service.INDEXER: "aperag_indexer",
    Service.RECONCILER: "aperag_reconciler",
    Service.WEBHOOKS: "aperag_webhooks",
}
WITH_PROVIDER_KEYS = frozenset({Service.AGENT, Service.API, Service.INDEXER, Service.WEBHOOKS})


class Stack:
    """Servers first, then the schema, then the services; the other way round at the end."""

    def __init__(self, options: StackOptions, *, env: Mapping[str, str]) -> None:
        self._options = options
        self._env = env
        self._home = Home(options.home)
        self._logs = ExitStack()
        self._log_files: dict[str, RotatingLog] = {}
        self._seeds = nats.make_keys(self._home.secrets)
        self._issuer = nats.make_issuer(self._home.secrets)
        self._nats = self._nats_server()
        self._postgres = postgres.PostgresServer(self._home.postgres, port=options.postgres_port)
        self._port = options.port or ports.free_port()
        self._mcp_port = _usual_port(options.mcp_port, MCP_PORT)
        self._console_port = _usual_port(options.console_port, CONSOLE_PORT)
        made = (self._postgres.data, self._home.api_key, self._home.admin_password)
        self._first_start = not all(path.exists() for path in made)
        self._servers = [self._unit(self._nats), self._unit(self._postgres)]
        self._services = [self._unit(it) for it in self._service_processes()]
        self._webhooks = OnDemand(
            lambda: self._unit(self._service(Service.WEBHOOKS)),
            partial(Looking, self._postgres.dsn(DATABASE), HAS_WEBHOOKS),
            self._write,
            start_timeout=options.start_timeout,
        )
        self.state = self._initial_state()

    async def start(self) -> None:
        """Return when every process is ready; on any failure what was started is to be stopped."""
        begun = asyncio.get_running_loop().time()
        self._write()
        if self._options.nats_host not in HOSTS and not self._options.nats_tls:
            message = f"--nats-host {self._options.nats_host} would let API keys pass the network in clear"
            raise StartFailed(message, hint="add --nats-tls, or leave NATS on this machine alone")
        ports.require_free(self._port, purpose="the API", option="--port")
        ports.require_free(self._mcp_port, purpose="the MCP service", option="--mcp-port")
        ports.require_free(self._console_port, purpose="the console", option="--console-port")
        await self._start_units(self._servers)
        await asyncio.to_thread(self._postgres.provision)
        await asyncio.to_thread(self._postgres.create_database, DATABASE)
        await self._run_module("aperag_common.db.migrate", env=self._environment(postgres.USER))
        self._home.make_secrets()  # before several starts ask for them at the same time
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bootstrap())
            group.create_task(self._start_units(self._services))
        seconds = asyncio.get_running_loop().time() - begun
        self._become(StackStatus.READY, ready_seconds=round(seconds, 2))
        self._webhooks.start()

    async def stop(self) -> None:
        self._become(StackStatus.STOPPING)
        await self._webhooks.stop()
        await asyncio.gather(*(unit.stop() for unit in self._services))
        await asyncio.gather(*(unit.stop() for unit in self._servers))
        self._become(StackStatus.STOPPED)
        self._logs.close()

    def fail(self, error: str) -> None:
        self._become(StackStatus.FAILED, error=error)

    def _nats_server(self) -> nats.NatsServer:
        options, names = self._options, _names(self._options.nats_host)
        return nats.NatsServer(
            self._home.nats,
            host=options.nats_host,
            port=_usual_port(options.nats_port, NATS_PORT),
            monitor_port=options.nats_monitor_port,
            users=nats.users_of(self._seeds),
            issuer=nats.public_key(self._issuer) if options.outsiders else None,
            certificate=Certificate.of(self._home.certificates, names) if options.nats_tls else None,
        )

    def _service_processes(self) -> list[ServiceProcess]:
        return [
            self._service(Service.API, port=self._port),
            *(self._service(Service.API, number) for number in range(2, self._options.gateways + 1)),
            *(self._service(Service.INDEXER, number) for number in range(1, self._options.indexers + 1)),
            *(self._service(Service.RECONCILER, number) for number in range(1, self._options.reconcilers + 1)),
            *(self._service(Service.AGENT, number) for number in range(1, self._options.agents + 1)),
            self._client("mcp", port=self._mcp_port),
            self._client("console", port=self._console_port),
        ]

    def _service(self, service: Service, number: int = 1, *, port: int = 0) -> ServiceProcess:
        return ServiceProcess(
            name=str(service) if number == 1 else f"{service}-{number}",
            module=MODULES[service],
            home=self._home,
            env=self._service_environment(service),
            port=port,
            holds_secret=service is Service.API,
            provider_keys=service in WITH_PROVIDER_KEYS,
            passes_spans=service is Service.API,
        )

    def _client(self, name: str, *, port: int) -> ServiceProcess:
        env = client_environment(self._env, api_url=self._api_url)
        return ServiceProcess(name=name, module=CLIENTS[name], home=self._home, env=env, port=port, passes_spans=True)

    @property
    def _api_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self._port}"

    @property
    def _mcp_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self._mcp_port}"

    @property
    def _console_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self._console_port}"

    def _service_environment(self, service: Service) -> dict[str, str]:
        """Its own identity at NATS, its own role at PostgreSQL."""
        own = {"APERAG_NATS__SEED_FILE": str(self._seeds[service]), "APERAG_MCP_URL": self._mcp_url}
        if self._nats.certificate is not None:
            own["APERAG_NATS__TLS_CA"] = str(self._nats.certificate.authority)
        if service is Service.API:
            own |= gateways(self._env) | self._outside()
            own["APERAG_CONSOLE_URL"] = self._env.get("APERAG_CONSOLE_URL") or self._console_url
        if service is Service.AGENT:
            own["APERAG_MCP_URL"] += "/mcp/"
            own["APERAG_API_URL"] = self._api_url
        return self._environment(role(service)) | own

    def _outside(self) -> dict[str, str]:
        """How the gateway lets outsiders in, and where it tells them to connect."""
        names = _names(self._options.nats_host)
        told = [self._nats.url_at(name) for name in (names[len(HOSTS) :] or HOSTS[:1])]
        return {
            "APERAG_OUTSIDE__ENABLED": str(self._options.outsiders).lower(),
            "APERAG_OUTSIDE__ISSUER_FILE": str(self._issuer),
            "APERAG_OUTSIDE__SERVERS": self._env.get("APERAG_OUTSIDE__SERVERS") or json.dumps(told),
        }

    def _environment(self, role: str) -> dict[str, str]:
        shared = shared_environment(self._env, self._home, nats_url=self._nats.url)
        return shared | {"APERAG_POSTGRES__URL": self._postgres.url(DATABASE, role=role)}

    def _unit(self, runs: Runnable) -> Unit:
        return Unit(runs, self._log_file(runs.name), changed=self._write)

    def _log_file(self, name: str) -> RotatingLog:
        """One for all units of that name: a service that runs on demand is a new unit at each start."""
        if name not in self._log_files:
            self._log_files[name] = opened = RotatingLog(self._home.log(name))
            self._logs.callback(opened.close)
        return self._log_files[name]

    async def _start_units(self, units: Sequence[Unit]) -> None:
        async with asyncio.TaskGroup() as group:
            for unit in units:
                group.create_task(unit.start(within=self._options.start_timeout))

    async def _bootstrap(self) -> None:
        """The administrator with an API key and a password; a start that came this far has made them for good."""
        if self._first_start:
            files = ("--key-file", str(self._home.api_key), "--password-file", str(self._home.admin_password))
            secrets = self._home.installation_secret() | self._home.provider_secret()
            env = self._service_environment(Service.API) | secrets
            await self._run_module("aperag_api.bootstrap", "--username", ADMIN, *files, "--own-machine", env=env)

    async def _run_module(self, module: str, *arguments: str, env: Mapping[str, str]) -> None:
        done = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await done.communicate()
        log.info("module.ran", module=module, code=done.returncode)
        if done.returncode != 0:
            message = f"{module} ended with code {done.returncode}"
            raise StartFailed(message, hint=output.decode(errors="replace").strip())

    def _initial_state(self) -> StackState:
        return StackState(
            pid=os.getpid(),
            status=StackStatus.STARTING,
            started=datetime.now(UTC),
            first_start=self._first_start,
            api_url=self._api_url,
            mcp_url=f"{self._mcp_url}/mcp/",
            console_url=self._console_url,
            nats_url=self._nats.url,
            postgres_port=self._postgres.port,
        )

    def _become(self, status: StackStatus, *, ready_seconds: float | None = None, error: str | None = None) -> None:
        changes = {"ready_seconds": ready_seconds, "error": error}
        known = {name: value for name, value in changes.items() if value is not None}
        self.state = self.state.model_copy(update={"status": status, **known})
        self._write()

    def _write(self) -> None:
        units = tuple(unit.state for unit in (*self._servers, *self._services, *self._webhooks.units))
        state.write(self._home.state, self.state.model_copy(update={"units": units}))


def _names(nats_host: str) -> tuple[str, ...]:
    """By which clients know the NATS server: on this machine, then elsewhere."""
    if nats_host in HOSTS:
        return HOSTS
    return (*HOSTS, socket.getfqdn() if nats.is_everywhere(nats_host) else nats_host)


def _usual_port(wanted: int | None, usual: int) -> int:
    """People write the usual one into configurations, but a second stack is no reason not to start."""
    if wanted is None:
        return usual if ports.is_free(usual) else ports.free_port()
    return wanted or ports.free_port()
