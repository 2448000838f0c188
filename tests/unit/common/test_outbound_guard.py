"""Which addresses may be asked, in every spelling, and that no other is connected to."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aperag_common.errors import ApeRAGError
from aperag_common.outbound.client import Call, OutboundClient
from aperag_common.outbound.failures import BlockedAddress, InvalidUrl, Unreachable
from aperag_common.outbound.guard import Guard
from aperag_common.outbound.settings import OutboundSettings
from aperag_testing.site import open_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from aperag_testing.site import Site

PUBLIC = "93.184.215.14"

PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "127.0.0.1.",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:10.0.0.1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:5db8:d70e::]",
    "[2001::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[100::1]",
    "[5f00::1]",
    "127。0。0。1",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "app.localhost",
]


def guard(resolved: list[str] | None = None, **settings: Any) -> Guard:
    async def resolve(host: str) -> list[str]:
        if resolved is None:
            raise socket.gaierror
        return resolved

    return Guard(OutboundSettings(**settings), resolve)


async def refusal(url: str, resolved: list[str] | None = None, **settings: Any) -> type[ApeRAGError] | None:
    """What the check of ``url`` raises."""
    guarding = guard(resolved, **settings)
    try:
        await guarding.check(httpx.URL(url))
    except ApeRAGError as err:
        return type(err)
    finally:
        guarding.close()
    return None


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_an_address_that_is_not_public_is_refused_however_it_is_spelled(host: str) -> None:
    assert await refusal(f"http://{host}/", [PUBLIC]) is BlockedAddress


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "127.0.1", "0x7f000001", "0x7f.0.0.1", "017700000001", "0", "0x", "1.2.3.0x4"]
)
async def test_an_address_as_only_some_resolvers_read_it_is_refused(host: str) -> None:
    assert await refusal(f"http://{host}/", [PUBLIC]) is InvalidUrl


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org@127.0.0.1/",
        "http://user:secret@example.org/",
        "http://example.org\\@127.0.0.1/",
        "http://127%2e0%2e0%2e1/",
        "http://exa mple.org/",
        "http://ex%00ample.org/",
        "http://xn--/",
        "http://xn--a.org/",
        "http://[2606:4700::1111%25\uff0eeth0]/",
        "http://example.org:65536/",
        "http://example.org:-1/",
        "http://example.org:0/",
        "http://-example.org/",
        f"http://{'a' * 64}.org/",
        pytest.param(f"http://{'a.' * 127}org/", id="long host"),
        pytest.param(f"http://example.org/{'a' * 8_000}", id="long path"),
        "http:///path",
        "http:example.org",
        "//example.org/",
        "example.org",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "javascript:alert(1)",
    ],
)
async def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    assert await refusal(url, [PUBLIC]) is InvalidUrl


@pytest.mark.parametrize("host", ["example.org", "EXAMPLE.org.", PUBLIC, "[2606:4700::1111]", "[64:ff9b::5db8:d70e]"])
async def test_a_public_host_may_be_asked(host: str) -> None:
    assert await refusal(f"https://{host}/", [PUBLIC, "2606:4700::1111"]) is None


@pytest.mark.parametrize(
    "resolved", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], ["fe80::1%eth0"], ["::ffff:192.168.0.1"]]
)
async def test_a_name_with_one_private_address_is_refused(resolved: list[str]) -> None:
    assert await refusal("http://example.org/", resolved) is BlockedAddress


async def test_a_name_without_address_is_unreachable() -> None:
    assert await refusal("http://example.org/", None) is Unreachable
    assert await refusal("http://example.org/", []) is Unreachable


async def test_only_the_ports_of_the_web_are_asked_unless_settings_name_others() -> None:
    assert await refusal("http://example.org:22/", [PUBLIC]) is BlockedAddress
    assert await refusal("https://example.org:8443/", [PUBLIC]) is None
    assert await refusal("http://example.org:22/", [PUBLIC], ports=(22,)) is None
    assert await refusal("http://example.org/", [PUBLIC], ports=(22,)) is BlockedAddress


@pytest.mark.parametrize(
    ("url", "resolved", "allow"),
    [
        ("http://10.1.2.3:11434/", [], "10.1.0.0/16"),
        ("http://[::ffff:10.1.2.3]/", [], "10.1.0.0/16"),
        ("http://models.example.org:11434/", ["10.1.2.3"], "10.1.0.0/16"),
        ("http://models.example.org:11434/", ["10.1.2.3"], "Models.example.org."),
        ("http://localhost:11434/", ["127.0.0.1", "::1"], "localhost"),
        ("http://[::1]:11434/", [], "::1"),
    ],
)
async def test_what_settings_allow_may_be_asked_on_every_port(url: str, resolved: list[str], allow: str) -> None:
    assert await refusal(url, resolved) is BlockedAddress
    assert await refusal(url, resolved, allow=(allow,)) is None


async def test_an_allowed_host_opens_no_other() -> None:
    allow = ("10.1.0.0/16", "models.example.org")
    assert await refusal("http://10.2.0.1/", [], allow=allow) is BlockedAddress
    assert await refusal("http://x.models.example.org/", ["10.2.0.1"], allow=allow) is BlockedAddress
    assert await refusal("http://other.example.org/", ["10.1.0.1", "10.2.0.1"], allow=allow) is BlockedAddress


async def test_private_networks_open_by_setting_but_never_what_is_no_host() -> None:
    for host in ("10.0.0.1", "127.0.0.1", "[::1]", "[fd00::1]", "169.254.1.1"):
        assert await refusal(f"http://{host}/", allow_private=True) is None
    assert await refusal("http://localhost/", ["127.0.0.1"], allow_private=True) is None
    for host in ("0.0.0.0", "[::]", "224.0.0.1", "[ff02::1]", "255.255.255.255", "[::ffff:0.0.0.0]"):
        assert await refusal(f"http://{host}/", allow_private=True) is BlockedAddress


@pytest.mark.parametrize("entry", ["", "10.0.0.0/33", "http://example.org", "exa mple", "*.example.org"])
def test_an_entry_that_allows_nothing_is_found_at_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host, address or network"):
        OutboundSettings(allow=(entry,))


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        site.page("/", "hello")
        yield site


async def fetched(client: OutboundClient, url: str) -> bytes:
    return (await client.fetch(Call(url), seconds=30, max_bytes=1_000)).content


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "public.example.org"])
async def test_nobody_is_connected_to_who_is_not_public(site: Site, host: str) -> None:
    async def resolve(_: str) -> list[str]:
        return ["127.0.0.1"]

    client = OutboundClient(OutboundSettings(ports=(site.port,)), user_agent="tests", resolver=resolve)
    with pytest.raises(BlockedAddress):
        await fetched(client, f"http://{host}:{site.port}/")
    await client.close()
    assert site.asked == []


async def test_the_address_that_was_checked_is_the_one_connected_to(site: Site) -> None:
    """A name server that answers differently the second time (DNS rebinding) is not asked a second time."""
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]]
    lookups = []

    async def resolve(host: str) -> list[str]:
        lookups.append(host)
        return answers[len(lookups) - 1]

    settings = OutboundSettings(allow=("127.0.0.1",))
    client = OutboundClient(settings, user_agent="tests", resolver=resolve)
    url = f"http://rebinding.example.org:{site.port}/"
    assert await fetched(client, url) == b"hello"
    assert lookups == ["rebinding.example.org"]
    assert site.asked[0].headers["host"] == f"rebinding.example.org:{site.port}"
    with pytest.raises(BlockedAddress):  # the new connection of the next request is checked anew
        await fetched(client, url)
    await client.close()
    assert len(site.asked) == 1


async def test_an_address_that_does_not_answer_is_passed_over(site: Site) -> None:
    async def resolve(_: str) -> list[str]:
        return ["127.0.0.3", "127.0.0.1"]

    client = OutboundClient(OutboundSettings(allow=("127.0.0.0/8",)), user_agent="tests", resolver=resolve)
    assert await fetched(client, f"http://two.example.org:{site.port}/") == b"hello"
    await client.close()


@contextmanager
def swallowing(host: str, port: int) -> Iterator[None]:
    """A listener that answers no knock at all, as a network does that drops packets."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):  # more than wait for an accept: further ones are dropped
            knocking = opened.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex((host, port))
        yield


async def test_an_address_that_never_answers_leaves_time_for_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a host has an IPv6 address, and the way there swallows packets."""

    async def resolve(_: str) -> list[str]:
        return ["127.0.0.3", "127.0.0.1"]

    monkeypatch.setattr("aperag_common.outbound.transport.CONNECT_SECONDS", 0.5)
    client = OutboundClient(OutboundSettings(allow=("127.0.0.0/8",)), user_agent="tests", resolver=resolve)
    with swallowing("127.0.0.3", site.port):
        assert await fetched(client, f"http://two.example.org:{site.port}/") == b"hello"
    await client.close()


def certificate(folder: Path, host: str) -> Path:
    """Key and certificate of ``host``, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file = folder / "host.pem"
    file.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return file


async def test_a_certificate_is_checked_against_the_name_not_the_address(tmp_path: Path) -> None:
    async def resolve(_: str) -> list[str]:
        return ["127.0.0.1"]

    file = certificate(tmp_path, "tea.example.org")
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(file)
    allowed = OutboundSettings(allow=("127.0.0.1",))
    trusting = OutboundClient(allowed.model_copy(update={"ca_file": file}), user_agent="tests", resolver=resolve)
    strict = OutboundClient(allowed, user_agent="tests", resolver=resolve)
    async with open_site(tls=serving) as site:
        site.page("/", "hello")
        assert await fetched(trusting, f"https://tea.example.org:{site.port}/") == b"hello"
        for client, host in ((trusting, "other.example.org"), (trusting, "127.0.0.1"), (strict, "tea.example.org")):
            with pytest.raises(Unreachable, match="certificate is not trusted"):
                await fetched(client, f"https://{host}:{site.port}/")
        assert len(site.asked) == 1
    await trusting.close()
    await strict.close()
