"""The examples of docs/events.md are run as they stand; only addresses, the key and ids are those of a test.

Those that speak to NATS run against a plain server with streams of the same names as well: a mistake in them is seen
without a whole installation.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import nats
import pytest
import pytest_asyncio
from nats.js.api import ConsumerConfig
from tests.events.examples import PAGE, Place, examples, printed, running, told

from aperag_common import subjects
from aperag_common.events import facts
from aperag_standalone import ports
from aperag_testing.client import Client
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from aperag_standalone.nats import NatsServer
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(120)

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "contract" / "golden"
SECRET = "whsec_" + base64.b64encode(b"of the tests, 24 bytes..").decode()
INSTALL_SECONDS = 300

with_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
with_nats = pytest.mark.skipif(shutil.which("nats") is None, reason="the nats command line is not installed")
SERVERS = pytest.mark.parametrize("place", ["plain", "stack"], indirect=True)
STACK = pytest.mark.parametrize("place", ["stack"], indirect=True)
RUN = {
    "variables",
    "listen-http",
    "listen-nats",
    "listen.py",
    "listen.mjs",
    "subscribe",
    "durable.py",
    "durable.mjs",
    "publish-http",
    "publish.py",
    "outcome",
    "webhook",
    "receiver.py",
}


def test_every_example_is_run() -> None:
    assert set(examples()) == RUN


def test_the_event_that_is_shown_is_one() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])
    event = facts.DocumentIndexed.model_validate(shown, extra="forbid")
    assert json.loads(event.encode())["causeid"] == shown["causeid"]


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest_asyncio.fixture
async def plain_place(nats_server: NatsServer) -> AsyncIterator[Place]:
    """A server without any of our services, on which the golden event happens."""
    connection = await nats.connect(nats_server.url)
    js = connection.jetstream()
    for name, kind in ((subjects.EVENTS, "evt"), ("APERAG_INGEST", "ingest")):
        await js.add_stream(name=name, subjects=[f"aperag.{kind}.>"])
    await js.add_consumer(subjects.EVENTS, ConsumerConfig(durable_name="sub-tests"))
    body = facts.DocumentUploaded.model_validate_json((GOLDEN / "DocumentUploaded.json").read_bytes()).encode()
    subject = subjects.event("user1", "document", "uploaded")
    env = {"NATS": nats_server.url, "KEY": "sk-tests", "OWNER": "user1", "INBOX": "_INBOX_key1"}
    yield Place({**env, "CONSUMER": "sub-tests", "COLLECTION": "col1"}, lambda: js.publish(subject, body))
    for name in (subjects.EVENTS, "APERAG_INGEST"):
        await js.delete_stream(name)
    await connection.close()


@pytest_asyncio.fixture
async def stranger(stack: Stack) -> AsyncIterator[Client]:
    """Somebody who is no administrator, and has nothing but a key."""
    async with Client(stack.url, stack.api_key) as client:
        body = {"username": f"stranger-{secrets.token_hex(4)}", "password": secrets.token_hex(12)}
        user = await client.json("POST", "/register", json=body)
    async with Client(stack.url, user["api_key"]) as own:
        yield own


@pytest_asyncio.fixture
async def stack_place(stack: Stack, stranger: Client) -> Place:
    """The installation; a document is uploaded whenever something is to happen. ``CONSUMER`` is made where it is pulled."""
    access = await stranger.json("GET", "/nats")
    collection = await stranger.collection()
    env = {
        "API": f"{stack.url}/api/v1",
        "NATS": access["servers"][0],
        "KEY": stranger.http.headers["Authorization"].removeprefix("Bearer "),
        "OWNER": access["owner"],
        "INBOX": access["inbox_prefix"],
        "COLLECTION": collection,
    }
    return Place(env, lambda: stranger.upload(collection, {f"{time.monotonic_ns()}.txt": b"Tea grows on hills."}))


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client library that the page names, as pinned."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    home = tmp_path_factory.mktemp("npm")
    for pin in ("package.json", "package-lock.json"):
        shutil.copy(HERE / pin, home)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(install, cwd=home, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm could not install what tests/events/package.json names: {done.stderr}")
    return home


def consumer_of(client: Client) -> Awaitable[dict[str, Any]]:
    body = {"name": f"tests-{time.monotonic_ns()}", "types": ["document.*"], "start": "now"}
    return client.json("POST", "/subscriptions", json=body, expect=201)


@with_curl
@STACK
async def test_the_values_that_the_examples_need(place: Place, tmp_path: Path) -> None:
    change = {"http://127.0.0.1:8000/api/v1": place.env["API"], "sk-…": place.env["KEY"]}
    async with running("variables", place.env, tmp_path, python=sys.executable, change=change) as process:
        await printed(process)
    names = ("API", "KEY", "NATS", "OWNER", "INBOX")
    shown = " ".join(f"${name}" for name in names)
    script = f'unset {" ".join(names)}; source {tmp_path / "variables"}; echo "{shown}"'
    done = await asyncio.create_subprocess_exec("bash", "-c", script, stdout=asyncio.subprocess.PIPE)
    assert (await done.communicate())[0].decode().split() == [place.env[name] for name in names]


@with_curl
@STACK
async def test_listening_over_http(place: Place, tmp_path: Path) -> None:
    async with running("listen-http", place.env, tmp_path, python=sys.executable) as process:
        await told(process, "event: document.uploaded", place)


@with_nats
@SERVERS
async def test_listening_with_the_nats_command_line(place: Place, tmp_path: Path) -> None:
    async with running("listen-nats", place.env, tmp_path, python=sys.executable) as process:
        await told(process, "document.uploaded", place)


@SERVERS
async def test_listening_in_python(place: Place, tmp_path: Path) -> None:
    async with running("listen.py", place.env, tmp_path, python=sys.executable) as process:
        line = await told(process, "document.uploaded", place)
    assert line.startswith(f"aperag.evt.{place.env['OWNER']}.document.uploaded {{")


@SERVERS
async def test_listening_in_javascript(place: Place, node_modules: Path) -> None:
    async with running("listen.mjs", place.env, node_modules, python=sys.executable) as process:
        line = await told(process, "document.uploaded", place)
    assert line.startswith(f"aperag.evt.{place.env['OWNER']}.document.uploaded {{")


@SERVERS
@pytest.mark.parametrize("name", ["durable.py", "durable.mjs"])
async def test_listening_durably(place: Place, stranger: Client, request: pytest.FixtureRequest, name: str) -> None:
    """What has happened before waits, and what was acknowledged does not come again."""
    home = request.getfixturevalue("node_modules" if name.endswith(".mjs") else "tmp_path")
    consumer = place.env.get("CONSUMER") or (await consumer_of(stranger))["consumer"]
    env = {**place.env, "CONSUMER": consumer}
    await place.happen()
    silent = Place(env, lambda: asyncio.sleep(0))
    async with running(name, env, home, python=sys.executable) as process:
        first = json.loads(await told(process, "document.uploaded", silent))
    assert first["type"] == "document.uploaded"
    async with running(name, env, home, python=sys.executable) as process:
        again = json.loads(await told(process, "document.uploaded", place))
    assert first["data"]["revision"] <= again["data"]["revision"]


@with_curl
@STACK
async def test_making_a_subscription(place: Place, tmp_path: Path) -> None:
    async with running("subscribe", place.env, tmp_path, python=sys.executable) as process:
        made = json.loads(await printed(process))
    assert (made["stream"], made["consumer"]) == (subjects.EVENTS, f"sub-{made['id']}")


@with_curl
@STACK
async def test_publishing_over_http_and_asking_for_the_outcome(place: Place, stranger: Client, tmp_path: Path) -> None:
    async with running("publish-http", place.env, tmp_path, python=sys.executable) as process:
        [accepted] = json.loads(await printed(process))["accepted"]
    assert (accepted["source"], accepted["id"]) == ("https://shop.example", "1")
    await until(lambda: found(stranger, place, "Descale"))
    async with running("outcome", place.env, tmp_path, python=sys.executable) as process:
        outcome = json.loads(await printed(process))
    assert outcome["document_id"]


@SERVERS
async def test_publishing_over_nats(place: Place, stranger: Client, tmp_path: Path) -> None:
    async with running("publish.py", place.env, tmp_path, python=sys.executable) as process:
        assert (await printed(process)).startswith("APERAG_INGEST ")
    if "API" in place.env:
        await until(lambda: found(stranger, place, "crumb"))


async def found(client: Client, place: Place, word: str) -> bool:
    body = {"query": word, "fulltext_search": {"topk": 5}, "save_to_history": False}
    answer = await client.json("POST", f"/collections/{place.env['COLLECTION']}/searches", json=body)
    return any(word in it["content"] for it in answer["items"])


@with_curl
@STACK
async def test_registering_a_webhook(place: Place, tmp_path: Path) -> None:
    change = {"https://shop.example/hook": "http://127.0.0.1:9/hook"}  # a name that exists, which may be asked
    async with running("webhook", place.env, tmp_path, python=sys.executable, change=change) as process:
        made = json.loads(await printed(process))
    assert made["secret"].startswith("whsec_")
    assert set(made["types"]) == {"document.indexed", "document.failed"}


async def test_a_receiver_believes_what_is_signed_and_nothing_else(tmp_path: Path) -> None:
    port = ports.free_port()
    env = {"SECRET": SECRET}
    body = (GOLDEN / "DocumentIndexed.json").read_bytes()
    async with (
        running("receiver.py", env, tmp_path, python=sys.executable, change={"9000": str(port)}) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as sender,
    ):
        await until(lambda: asyncio.to_thread(listens, port))
        good = signed("msg_1", time.time(), body)
        assert (await sender.post("/hook", content=body, headers=good)).status_code == 204
        rotated = {**good, "webhook-signature": f"v1,AAAA {good['webhook-signature']}"}
        assert (await sender.post("/hook", content=body, headers=rotated)).status_code == 204
        for content, headers in (
            (body + b" ", good),
            (body, {**good, "webhook-id": "msg_2"}),
            (body, signed("msg_1", time.time() - 3600, body)),
            (body, {**good, "webhook-signature": "v1,AAAA"}),
            (body, {}),
        ):
            assert (await sender.post("/hook", content=content, headers=headers)).status_code == 400
        assert process.stdout is not None
        assert [(await process.stdout.readline()).decode() for _ in range(2)] == ["msg_1 document.indexed\n"] * 2


def listens(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}", trust_env=False)
    except httpx.TransportError:
        return False
    return True


def signed(id_: str, at: float, body: bytes) -> dict[str, str]:
    """As the specification of Standard Webhooks says."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    mac = hmac.new(key, f"{id_}.{int(at)}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(mac).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": str(int(at)), "webhook-signature": signature}


@with_curl
@STACK
async def test_a_stranger_publishes_a_document_finds_it_and_receives_the_webhook(
    place: Place, stranger: Client, tmp_path: Path
) -> None:
    port = ports.free_port()
    address = {"https://shop.example/hook": f"http://127.0.0.1:{port}/hook"}
    async with running("webhook", place.env, tmp_path, python=sys.executable, change=address) as process:
        made = json.loads(await printed(process))
    env = {**place.env, "SECRET": made["secret"]}
    async with running("receiver.py", env, tmp_path, python=sys.executable, change={"9000": str(port)}) as receiver:
        await until(lambda: asyncio.to_thread(listens, port))
        async with running("publish.py", env, tmp_path, python=sys.executable) as process:
            await printed(process)
        await until(lambda: found(stranger, place, "crumb"))
        silent = Place(env, lambda: asyncio.sleep(0))
        assert "document.indexed" in await told(receiver, "document.indexed", silent)
