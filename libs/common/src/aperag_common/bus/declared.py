"""What a process receives and sends, declared on a FastStream broker with the class of each message.

FastStream describes (its AsyncAPI 3 document is the catalogue of all messages); it never connects. Our loops bring the
messages, and whoever declares a class decodes with it; our publisher refuses what was not declared (ADR 0018 says why
FastStream runs none of it).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.specification import AsyncAPI

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_common.events import facts
from aperag_common.events.ticks import Tick, TimerName
from aperag_common.jobs.kind import kinds
from aperag_common.services import Service

if TYPE_CHECKING:
    from pydantic import BaseModel

    from aperag_common.bus.specs import ConsumerSpec

NOWHERE = "nats://declared.invalid"
"""The broker never connects."""


class Undeclared(RuntimeError):
    """A defect of the caller: a message that no catalogue lists."""


class Declared:
    """One process's part of the catalogue."""

    def __init__(self) -> None:
        self.broker = NatsBroker(NOWHERE, logger=None)
        self._sent: set[str] = set()

    def receive(self, spec: ConsumerSpec, subject: str, message: type[BaseModel]) -> None:
        """Declare that messages of this class are taken in on ``subject``."""
        subscriber = self.broker.subscriber(
            subject,
            stream=JStream(spec.stream, declare=False),
            durable=spec.name,
            pull_sub=PullSub(),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            title=f"{spec.name}:{subject}",
            description=message.__doc__,
        )

        async def take(body: Any) -> None:
            pass

        # It is never called: FastStream reads the class of the message from its annotation.
        take.__annotations__ = {"body": message, "return": None}
        subscriber(take)

    def send(self, subject: str, stream: str, message: type[BaseModel]) -> None:
        """Declare that messages of this class go out on ``subject``; a token may be ``*``."""
        if subject in self._sent:
            return
        self.broker.publisher(
            subject,
            stream=JStream(stream, declare=False),
            schema=message,
            title=subject,
            description=message.__doc__,
        )
        self._sent.add(subject)

    def require(self, subject: str) -> None:
        """Raises ``Undeclared`` where nobody has declared to send on ``subject``."""
        if subject not in self._sent and _pattern(subject) not in self._sent:
            message = f"no publisher is declared for {subject}"
            raise Undeclared(message)


def declared_for(service: Service) -> Declared:
    """What ``service`` may send, as its permissions have it; handlers add what it receives."""
    found = Declared()
    for kind in kinds():
        own = kind.sent_by_worker if service is kind.service else ()
        for work in kind.works if service in {Service.API, Service.RECONCILER} else own:
            found.send(work.subject, subjects.stream_of(work.subject), work.command)
    for fact in facts.FACTS if service is Service.RECONCILER else facts.made_by(service):
        found.send(subjects.events_of_type(fact.type_name), subjects.EVENTS, fact)
    if service in topology.stream(subjects.TICKS).publishers:
        for timer in TimerName:
            found.send(subjects.tick(timer), subjects.TICKS, Tick)
    return found


def catalogue() -> dict[str, Any]:
    """The AsyncAPI 3 document of all commands, ticks and events, as the services declare them."""
    whole = Declared()
    for kind in kinds():
        for work in kind.works:
            whole.send(work.subject, subjects.stream_of(work.subject), work.command)
            whole.receive(topology.consumer(work.consumer), work.subject, work.command)
    for fact in facts.FACTS:
        whole.send(subjects.events_of_type(fact.type_name), subjects.EVENTS, fact)
    for timer in TimerName:
        whole.send(subjects.tick(timer), subjects.TICKS, Tick)
    document: dict[str, Any] = AsyncAPI(whole.broker).to_specification().to_jsonable()
    return document


@lru_cache(maxsize=4096)
def _pattern(subject: str) -> str:
    """Of an event: its subject without the owner, as events are declared."""
    try:
        return subjects.events_of_type(subjects.parse_event(subject).type)
    except ValueError:
        return subject
