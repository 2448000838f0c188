"""Which process of the stack is given which secret."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aperag_standalone import files
from aperag_standalone.home import Home
from aperag_standalone.supervisor.services import ServiceProcess, client_environment, gateways, shared_environment

if TYPE_CHECKING:
    from pathlib import Path

CALLERS = {
    "PATH": "/bin",
    "GITHUB_OAUTH_CLIENT_SECRET": "of the gateway",
    "APERAG_GOOGLE_OAUTH_CLIENT_SECRET": "of the gateway",
    "APERAG_WORK__LEASE": "PT5S",
    "APERAG_API_KEY": "sk-of-the-caller",
    "APERAG_SECRET_KEY": "of the caller",
    "APERAG_SECRET_KEY_PREVIOUS": "[]",
    "APERAG_PROVIDER_KEYS": "of the caller",
    "APERAG_TRACES_TOKEN": "of the caller",
    "JWT_SECRET": "of the gateway",
    "APERAG_JWT_SECRET": "of the gateway",
    "APERAG_POSTGRES__PASSWORD": "of the caller",
    "APERAG_NATS__SEED_FILE": "of the caller",
    "APERAG_OAUTH__PROVIDERS__STUB__CLIENT_SECRET": "of the gateway",
}


def test_what_a_shell_exports_reaches_no_service_where_it_is_a_secret(tmp_path: Path) -> None:
    for made in (
        shared_environment(CALLERS, Home(tmp_path), nats_url="nats://n"),
        client_environment(CALLERS, api_url="http://a"),
    ):
        assert made["APERAG_WORK__LEASE"] == "PT5S"
        assert not [name for name, value in made.items() if value.startswith(("of the", "sk-"))]
    assert gateways(CALLERS) == {
        "APERAG_OAUTH__PROVIDERS__STUB__CLIENT_SECRET": "of the gateway",
        "JWT_SECRET": "of the gateway",
        "APERAG_JWT_SECRET": "of the gateway",
        "GITHUB_OAUTH_CLIENT_SECRET": "of the gateway",
        "APERAG_GOOGLE_OAUTH_CLIENT_SECRET": "of the gateway",
    }


def test_only_who_holds_the_secret_is_given_it_and_always_the_present_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    holder = ServiceProcess("api", "aperag_api", home, {}, holds_secret=True)
    first = holder.environment()["APERAG_SECRET_KEY"]
    assert "APERAG_SECRET_KEY" not in ServiceProcess("indexer", "aperag_indexer", home, {}).environment()
    files.write_private(home.previous_secret_keys, f"{first}\nolder\n")
    # A rotation that stopped here has replaced nothing yet.
    assert json.loads(holder.environment()["APERAG_SECRET_KEY_PREVIOUS"]) == ["older"]
    files.write_private(home.secret_key, "next\n")
    environment = holder.environment()
    assert environment["APERAG_SECRET_KEY"] == "next"
    assert json.loads(environment["APERAG_SECRET_KEY_PREVIOUS"]) == [first, "older"]


def test_who_calls_models_is_given_the_secret_of_their_keys_and_no_other(tmp_path: Path) -> None:
    home = Home(tmp_path)
    caller = ServiceProcess("agent", "aperag_agent", home, {}, provider_keys=True)
    first = caller.environment()["APERAG_PROVIDER_KEYS"]
    assert "APERAG_SECRET_KEY" not in caller.environment()
    assert first != home.installation_secret()["APERAG_SECRET_KEY"]
    assert "APERAG_PROVIDER_KEYS" not in ServiceProcess("reconciler", "aperag_reconciler", home, {}).environment()
    files.write_private(home.previous_provider_keys, f"{first}\n")
    files.write_private(home.provider_keys, "next\n")
    environment = caller.environment()
    assert environment["APERAG_PROVIDER_KEYS"] == "next"
    assert json.loads(environment["APERAG_PROVIDER_KEYS_PREVIOUS"]) == [first]


def test_the_gateway_and_its_clients_share_a_token_for_spans(tmp_path: Path) -> None:
    home = Home(tmp_path)
    tokens = {
        name: ServiceProcess(name, module, home, {}, passes_spans=True).environment()["APERAG_TRACES_TOKEN"]
        for name, module in (("api", "aperag_api"), ("mcp", "aperag_mcp"), ("console", "aperag_console"))
    }
    assert len(set(tokens.values())) == 1
    assert len(tokens["api"]) == 64
    assert home.traces_token.stat().st_mode & 0o777 == 0o600
    assert "APERAG_TRACES_TOKEN" not in ServiceProcess("agent", "aperag_agent", home, {}).environment()


def test_all_who_ask_for_a_new_secret_at_the_same_time_are_given_the_same(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"secret{number}"
        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(lambda _, path=path: files.secret(path), range(8)))) == 1
        assert path.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".*"))
