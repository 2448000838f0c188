"""A NATS server with accounts, as the product configures it, a gateway that answers its callout, and clients of others."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from tests.integration.api.outside.clients import OPERATOR, Identities, Outsider, make_streams, opened

from aperag_api.identity.settings import OutsideSettings
from aperag_common.bus.connection import Bus, connect
from aperag_common.bus.permissions import Permissions
from aperag_common.services import Service
from aperag_standalone.nats import NatsServer, make_issuer, make_keys, public_key, users_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.integration.api.outside.clients import Person

    from aperag_api.edge.settings import Settings


@pytest.fixture
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    directory = tmp_path_factory.mktemp("identities")
    return Identities(make_keys(directory), make_issuer(directory))


@pytest.fixture
def nats_server(identities: Identities, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    users = users_of(identities.seeds)
    users[OPERATOR] = replace(users[OPERATOR], permissions=Permissions((">",), (">",)))
    issuer = public_key(identities.issuer)
    server = NatsServer(tmp_path_factory.mktemp("nats"), users=users, issuer=issuer, durable=False)
    server.start()
    yield server
    server.kill()


@pytest_asyncio.fixture
async def operator(nats_server: NatsServer, identities: Identities) -> AsyncIterator[Bus]:
    wanted = identities.settings(OPERATOR, nats_server.url)
    bus = await connect(wanted, service=OPERATOR, instance="operator")
    await make_streams(bus)
    yield bus
    await bus.close()


@pytest_asyncio.fixture
async def bus(operator: Bus, nats_server: NatsServer, identities: Identities) -> AsyncIterator[Bus]:
    """The gateway's own, with no more than its permissions."""
    bus = await connect(identities.settings(Service.API, nats_server.url), service=Service.API, instance="tests")
    yield bus
    await bus.close()


@pytest.fixture
def settings(settings: Settings, nats_server: NatsServer, identities: Identities) -> Settings:
    outside = OutsideSettings(issuer_file=identities.issuer, servers=(nats_server.url,))
    return settings.model_copy(update={"outside": outside})


@pytest_asyncio.fixture
async def connected() -> AsyncIterator[Callable[..., Awaitable[Outsider]]]:
    async with AsyncExitStack() as stack:

        async def connect_as(person: Person, key: str | None = None, **options: Any) -> Outsider:
            return await stack.enter_async_context(opened(person, key, **options))

        yield connect_as
