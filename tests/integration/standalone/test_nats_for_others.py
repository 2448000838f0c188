"""NATS of the one-machine stack for clients that are not its own services."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aperag_common.services import Service
from aperag_standalone.errors import StartFailed
from aperag_standalone.home import Home
from aperag_standalone.supervisor.options import StackOptions
from aperag_standalone.supervisor.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path


def stack(home: Path, *, env: dict[str, str] | None = None, **options: Any) -> Stack:
    Home(home).prepare()
    made = Stack(StackOptions(home=home, port=0, nats_port=0, **options), env=env or {})
    made._logs.close()  # nothing of it is started
    return made


def told(made: Stack) -> dict[str, str]:
    """What the gateway is told of other services."""
    environment = made._service_environment(Service.API)
    return {name.removeprefix("APERAG_OUTSIDE__"): value for name, value in environment.items() if "OUTSIDE" in name}


async def test_other_machines_reach_nats_only_over_tls(tmp_path: Path) -> None:
    with pytest.raises(StartFailed) as caught:
        await stack(tmp_path, nats_host="192.0.2.1").start()
    assert "--nats-tls" in caught.value.hint


async def test_other_machines_are_told_another_name_and_the_certificate_has_it(tmp_path: Path) -> None:
    made = stack(tmp_path, nats_host="192.0.2.1", nats_tls=True)
    port = made._nats.port
    assert made._nats.config()["listen"] == f"192.0.2.1:{port}"
    assert json.loads(told(made)["SERVERS"]) == [f"tls://192.0.2.1:{port}"]
    everywhere = stack(tmp_path, nats_host="0.0.0.0", nats_tls=True)
    assert everywhere._nats.url.startswith("tls://127.0.0.1:")
    assert everywhere._nats.config()["http"].startswith("127.0.0.1:")


async def test_by_itself_this_machine_alone_and_all_may_connect(tmp_path: Path) -> None:
    made = stack(tmp_path)
    assert made._nats.config()["listen"].startswith("127.0.0.1:")
    assert json.loads(told(made)["SERVERS"]) == [f"nats://127.0.0.1:{made._nats.port}"]
    assert told(made)["ENABLED"] == "true"
    assert "auth_callout" in made._nats.config()["authorization"]


async def test_whoever_wants_no_others_gets_a_server_without_a_callout(tmp_path: Path) -> None:
    made = stack(tmp_path, outsiders=False, env={"APERAG_OUTSIDE__SERVERS": '["tls://nats.example.org:4222"]'})
    assert "authorization" not in made._nats.config()
    assert told(made)["ENABLED"] == "false"
    assert json.loads(told(made)["SERVERS"]) == ["tls://nats.example.org:4222"]


async def test_services_never_pass_the_callout(tmp_path: Path) -> None:
    config = stack(tmp_path)._nats.config()
    services = {user["nkey"] for user in config["accounts"]["APP"]["users"]}
    assert set(config["authorization"]["auth_callout"]["auth_users"]) == services
    assert len(services) == len(Service)
    assert "users" not in config["accounts"]["OUTSIDE"]
    assert "users" not in config["accounts"]["SYS"]
