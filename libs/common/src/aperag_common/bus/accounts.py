"""The server's accounts: ``APP`` for the services, ``OUTSIDE`` for whoever comes with an API key, ``SYS`` for the server.

One account for all is not enough: with the reply subject of a publish, or with the subject that a consumer delivers to, a
client could have the server write into streams that it may not publish to (ADR 0028).
"""

from __future__ import annotations

from dataclasses import dataclass

from aperag_common import subjects

APP = "APP"
OUTSIDE = "OUTSIDE"
SYSTEM = "SYS"

CALLOUT = "$SYS.REQ.USER.AUTH"
"""The server asks here who comes with a token; it alone may publish this."""
CALLOUT_REPLIES = "$SYS._INBOX.*.*"
CONNECTIONS = f"$SYS.REQ.ACCOUNT.{OUTSIDE}.CONNZ"
KICKS = "$SYS.REQ.SERVER.*.KICK"
NOBODY = f"{subjects.ROOT}.live.nobody"
"""Nobody subscribes to it."""

NEXT, INFO, ACK = (f"$JS.{it}.{subjects.EVENTS}" for it in ("API.CONSUMER.MSG.NEXT", "API.CONSUMER.INFO", "ACK"))


@dataclass(frozen=True, slots=True)
class Shared:
    """One subject of an account that another one imports, under the name ``local`` where that is not the same.

    A ``stream`` goes to the importer; a service is asked by it, and may answer ``many`` times.
    """

    subject: str
    stream: bool = False
    many: bool = False
    local: str | None = None


FOR_OUTSIDERS = (
    Shared(subjects.ALL_INGEST),
    Shared(subjects.ALL_EVENTS, stream=True),
    Shared(f"{NEXT}.*", many=True),
    Shared(f"{INFO}.*"),
    Shared(f"{ACK}.>"),
    # An account without JetStream that imports nothing there is given an API of its own by the server. It would answer
    # first, and say that there is no JetStream.
    Shared(NOBODY, local="$JS.API.INFO"),
)
"""What OUTSIDE imports from APP, and nothing else."""

FOR_SERVICES = (Shared(CONNECTIONS, many=True), Shared(KICKS))
"""What APP imports from SYS; the gateway alone is permitted to ask."""


def consumer_of(subscription_id: str) -> str:
    """The durable consumer of a subscription of an outsider."""
    return f"sub-{subscription_id}"


def subscription_of(consumer: str) -> str | None:
    """The reverse of ``consumer_of``; None for consumers of other kinds."""
    prefix, _, subscription_id = consumer.partition("-")
    return subscription_id if prefix == "sub" and subscription_id else None


def kick(server_id: str) -> str:
    return KICKS.replace("*", server_id)


def pulls_from(consumer: str) -> tuple[str, ...]:
    """What it takes to read from a durable consumer of the event stream."""
    return (f"{NEXT}.{consumer}", f"{INFO}.{consumer}", f"{ACK}.{consumer}.>")
