"""What each service may publish and subscribe to, derived from the topology: nothing else is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from aperag_common import subjects
from aperag_common.bus import accounts
from aperag_common.bus.specs import StreamSpec
from aperag_common.bus.topology import advised, stream, streams
from aperag_common.events import facts
from aperag_common.jobs.kind import kinds
from aperag_common.services import Service

JS = "$JS.API"


@dataclass(frozen=True, slots=True)
class Permissions:
    """Allow-lists for one NATS user; ``answers``: may also publish to where a request that it was sent asks for it.

    ``denied`` is what it may not publish to although a wildcard of ``publish`` covers it.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False
    denied: tuple[str, ...] = ()


def inbox_prefix(user: str) -> str:
    """Every service and every API key has its own inbox, so that none can read another's replies."""
    return f"_INBOX_{user}"


def _works_on(service: Service) -> list[str]:
    allowed: list[str] = []
    for spec in streams():
        if service in spec.publishers:
            allowed += _feeds(service, spec)
        for consumer in spec.consumers:
            if consumer.service is service:
                allowed += [
                    f"{JS}.CONSUMER.INFO.{spec.name}.{consumer.name}",
                    f"{JS}.CONSUMER.MSG.NEXT.{spec.name}.{consumer.name}",
                    f"$JS.ACK.{spec.name}.{consumer.name}.>",
                ]
    return allowed


def _feeds(service: Service, stream: StreamSpec) -> tuple[str, ...]:
    """Only commands that someone works on, and only facts that the service makes.

    A worker sends no commands but those of its own jobs that an end lets begin. The reconciler sends what is lost: any of them.
    """
    if stream.name == subjects.EVENTS:
        relayed = facts.FACTS if service is Service.RECONCILER else facts.made_by(service)
        return tuple(subjects.events_of_type(fact.type_name) for fact in relayed)
    if stream.name != subjects.COMMANDS:
        return stream.accepts
    if service in {Service.API, Service.RECONCILER}:
        return tuple(handled for consumer in stream.consumers for handled in consumer.filters)
    return tuple(work.subject for it in kinds() if it.service is service for work in it.sent_by_worker)


def _reads_events() -> list[str]:
    """What named consumers without acknowledgements need, which live as long as their readers."""
    return [
        f"{JS}.STREAM.INFO.{subjects.EVENTS}",
        f"{JS}.CONSUMER.CREATE.{subjects.EVENTS}.*.{subjects.ALL_EVENTS}",
        f"{JS}.CONSUMER.DELETE.{subjects.EVENTS}.*",
        f"{JS}.CONSUMER.MSG.NEXT.{subjects.EVENTS}.*",
    ]


def _lets_outsiders_in() -> list[str]:
    """Answers to the server's callout, an end to connections, and the consumers of durable subscriptions."""
    subscriptions = [f"{JS}.CONSUMER.{verb}.{subjects.EVENTS}.*" for verb in ("INFO", "DURABLE.CREATE")]
    names = f"{JS}.CONSUMER.NAMES.{subjects.EVENTS}"
    return [accounts.CALLOUT_REPLIES, accounts.CONNECTIONS, accounts.KICKS, names, *subscriptions]


def _leaves_alone() -> tuple[str, ...]:
    """Who reads events with consumers of its own touches no other service's: what it took would be missing there."""
    names = [consumer.name for consumer in stream(subjects.EVENTS).consumers]
    verbs = ("CONSUMER.CREATE.{}.>", "CONSUMER.DURABLE.CREATE.{}", "CONSUMER.DELETE.{}", "CONSUMER.MSG.NEXT.{}")
    return tuple(f"{JS}.{verb.format(f'{subjects.EVENTS}.{name}')}" for name in names for verb in verbs)


def _watches() -> list[str]:
    """What it takes to tell how long every queue is; nothing can be read or changed with it."""
    infos = [f"{JS}.STREAM.INFO.{spec.name}" for spec in streams()]
    consumers = [consumer for spec in streams() for consumer in spec.consumers]
    return [*infos, *(f"{JS}.CONSUMER.INFO.{it.stream}.{it.name}" for it in consumers)]


def _owns_topology() -> list[str]:
    # One by one: no stream and no consumer but ours can be made or changed, and no stream can be deleted or purged.
    made = [f"{JS}.STREAM.{verb}.{spec.name}" for spec in streams() for verb in ("CREATE", "UPDATE")]
    consumers = [consumer for spec in streams() for consumer in spec.consumers]
    # A consumer of a work queue that an older version had would block its successor.
    retires = [f"{JS}.CONSUMER.LIST.{it.name}" for it in advised()]
    retires += [f"{JS}.CONSUMER.DELETE.{it.name}.*" for it in advised()]
    return [*made, *retires, *(f"{JS}.CONSUMER.DURABLE.CREATE.{it.stream}.{it.name}" for it in consumers)]


def _takes_out() -> list[str]:
    """What it takes to look at a message that was given up, and to remove it from its queue."""
    return [f"{JS}.STREAM.MSG.{verb}.{spec.name}" for spec in advised() for verb in ("GET", "DELETE")]


def permissions_for(service: Service) -> Permissions:
    """The allow-lists of one service; what a service needs besides its streams is named here."""
    publish = _works_on(service)
    subscribe = [f"{inbox_prefix(service)}.>"]
    publish.append(subjects.wake(Service.RECONCILER))
    match service:
        case Service.AGENT:
            publish.append(subjects.ALL_TURN_EVENTS)
            subscribe += [subjects.ALL_TURN_CANCELS, subjects.ALL_TURN_SNAPSHOTS]
        case Service.API:
            publish += [
                *_watches(),
                *_reads_events(),
                *_lets_outsiders_in(),
                f"{JS}.DIRECT.GET.{subjects.SPANS}",
                subjects.ALL_TASK_CANCELS,
                subjects.ALL_TURN_CANCELS,
                subjects.ALL_TURN_SNAPSHOTS,
            ]
            subscribe += [subjects.ALL_TURN_EVENTS, accounts.CALLOUT]
        case Service.INDEXER:
            subscribe.append(subjects.ALL_TASK_CANCELS)
        case Service.RECONCILER:
            publish += [*_watches(), *_owns_topology(), *_takes_out()]
            subscribe.append(subjects.wake(Service.RECONCILER))
    denied = _leaves_alone() if service is Service.API else ()
    answers = service is Service.AGENT
    return Permissions(tuple(dict.fromkeys(publish)), tuple(subscribe), answers=answers, denied=denied)
