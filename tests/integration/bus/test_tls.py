"""NATS over TLS: encrypted or not at all, and a mistake in the certificates is told in words."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import httpx
import nats
import pytest

from aperag_common.bus import topology
from aperag_common.bus.connection import connect
from aperag_common.bus.tls import TlsRefused, explained
from aperag_common.services import Service
from aperag_common.settings import NatsSettings
from aperag_standalone.certificates import Certificate
from aperag_standalone.nats import NatsServer, make_keys, users_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTS = ("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def certificate(directory: Path) -> Certificate:
    return Certificate.of(directory / "ours", HOSTS)


@pytest.fixture(scope="module")
def server(directory: Path, certificate: Certificate) -> Iterator[NatsServer]:
    (directory / "keys").mkdir()
    users = users_of(make_keys(directory / "keys"))
    with NatsServer(directory / "nats", users=users, certificate=certificate) as running:
        yield running


def settings(server: NatsServer, directory: Path, **changes: object) -> NatsSettings:
    seed = directory / "keys" / "reconciler.nk"
    return NatsSettings.model_validate({"url": server.url, "seed_file": seed, **changes})


async def refusal(wanted: NatsSettings) -> str:
    with pytest.raises(TlsRefused) as caught:
        await asyncio.wait_for(connect(wanted, service="reconciler", instance="t"), 30)
    return str(caught.value)


async def test_a_service_that_trusts_the_authority_works_over_tls(
    server: NatsServer, directory: Path, certificate: Certificate
) -> None:
    bus = await connect(settings(server, directory, tls_ca=certificate.authority), service="reconciler", instance="t")
    try:
        assert await topology.apply(bus.js)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.monitor_port}", trust_env=False) as http:
            connections = (await http.get("/connz")).json()["connections"]
        assert [it["tls_version"] for it in connections] == ["1.3"]
    finally:
        await bus.close()


async def test_it_comes_back_over_tls_when_the_server_does(directory: Path, certificate: Certificate) -> None:
    users = users_of({Service.RECONCILER: make_keys(directory / "again")[Service.RECONCILER]})
    seed = directory / "again" / "reconciler.nk"
    with NatsServer(directory / "restarted", users=users, certificate=certificate) as server:
        wanted = NatsSettings(url=server.url, seed_file=seed, tls_ca=certificate.authority)
        bus = await connect(wanted, service="reconciler", instance="t")
        back = asyncio.Event()

        async def note() -> None:
            back.set()

        bus.reconnected.append(note)
        try:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await asyncio.wait_for(back.wait(), 30)
            await bus.nc.flush(timeout=30)
        finally:
            await bus.close()


async def test_another_installations_authority_is_refused_in_words(server: NatsServer, directory: Path) -> None:
    foreign = Certificate.of(directory / "foreign", HOSTS)
    told = await refusal(settings(server, directory, tls_ca=foreign.authority))
    assert "APERAG_NATS__TLS_CA" in told
    assert "not signed by" in told
    assert server.url in told


async def test_a_certificate_for_other_names_is_refused_in_words(directory: Path) -> None:
    elsewhere = Certificate.of(directory / "elsewhere", ("nats.example.org",))
    with NatsServer(directory / "elsewhere-nats", certificate=elsewhere) as server:
        told = await refusal(NatsSettings(url=server.url, tls_ca=elsewhere.authority))
    assert "other names" in told
    assert "APERAG_NATS__URL" in told


async def test_a_server_in_clear_gets_nothing_from_a_client_that_wants_tls(
    nats_server: NatsServer, certificate: Certificate
) -> None:
    told = await refusal(NatsSettings(url=nats_server.url, tls_ca=certificate.authority))
    assert "does not speak TLS from the first byte" in told


async def test_a_client_that_waits_to_be_asked_for_tls_is_asked(
    server: NatsServer, directory: Path, certificate: Certificate
) -> None:
    """As clients of other services are, unless somebody tells them otherwise."""
    seed = (directory / "keys" / "reconciler.nk").read_text(encoding="ascii").strip()
    context = ssl.create_default_context(cafile=certificate.authority)
    nc = await nats.connect(server.url, nkeys_seed_str=seed, tls=context, inbox_prefix="_INBOX_reconciler")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.monitor_port}", trust_env=False) as http:
            [connection] = (await http.get("/connz", params={"cid": nc.client_id})).json()["connections"]
        assert connection["tls_version"] == "1.3"
    finally:
        await nc.close()


async def test_a_client_in_clear_gets_nothing_from_a_server_that_speaks_tls(server: NatsServer) -> None:
    url = server.url.replace("tls://", "nats://")
    with pytest.raises((nats.errors.Error, OSError, asyncio.TimeoutError)):
        await nats.connect(url, allow_reconnect=False, connect_timeout=1, max_reconnect_attempts=1)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"tls_ca": "absent.pem"}, "APERAG_NATS__TLS_CA must be a readable PEM file"),
        ({"tls_ca": "empty.pem"}, "APERAG_NATS__TLS_CA must be a readable PEM file"),
        ({"tls_ca": "ours/server.key"}, "APERAG_NATS__TLS_CA must be a readable PEM file"),
        ({"tls_ca": "ours/ca.pem", "tls_cert": "ours/server.pem"}, "belong together"),
        ({"tls_key": "ours/server.key"}, "belong together"),
        ({"tls_cert": "absent.pem", "tls_key": "ours/server.key"}, "must be readable PEM files"),
        ({"tls_cert": "ours/ca.pem", "tls_key": "ours/server.key"}, "belonging to the certificate"),
    ],
    ids=str,
)
async def test_files_that_cannot_be_used_are_named_at_once(
    directory: Path, certificate: Certificate, names: dict[str, str], told: str
) -> None:
    (directory / "empty.pem").write_text("", encoding="ascii")
    files = {name: directory / path for name, path in names.items()}
    assert certificate.authority.exists()
    message = await refusal(NatsSettings.model_validate({"url": "tls://127.0.0.1:1", **files}))
    assert told in message
    assert "BEGIN" not in message


@pytest.mark.parametrize(
    ("openssl", "told"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", "has expired"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid", "clocks"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "APERAG_NATS__TLS_CERT"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "handshake_first"),
    ],
)
def test_what_openssl_says_is_put_into_words(openssl: str, told: str) -> None:
    assert told in explained(ssl.SSLError(1, openssl), NatsSettings())


def test_files_of_a_certificate_are_private_and_stay_as_long_as_they_serve(directory: Path) -> None:
    made = Certificate.of(directory / "kept", HOSTS)
    assert {path.stat().st_mode & 0o777 for path in (made.authority, made.certificate, made.key)} == {0o600}
    before = made.certificate.read_bytes()
    assert Certificate.of(directory / "kept", ("localhost",)).certificate.read_bytes() == before
    assert Certificate.of(directory / "kept", ("localhost", "nats")).certificate.read_bytes() != before
