"""What each service may publish and subscribe to, derived from the topology: nothing else is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from aperag_common.bus import subjects
from aperag_common.bus.topology import ADVISED, STREAMS, Service

JS = "$JS.API"


@dataclass(frozen=True, slots=True)
class Permissions:
    """Allow-lists for one NATS user."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox_prefix(service: str) -> str:
    """Every service has its own inbox, so that none can read another's replies."""
    return f"_INBOX_{service}"


def _works_on(service: Service) -> list[str]:
    allowed: list[str] = []
    for stream in STREAMS:
        if service in stream.publishers:
            allowed += stream.accepts
        for consumer in stream.consumers:
            if consumer.service is service:
                allowed += [
                    f"{JS}.CONSUMER.INFO.{stream.name}.{consumer.name}",
                    f"{JS}.CONSUMER.MSG.NEXT.{stream.name}.{consumer.name}",
                    f"$JS.ACK.{stream.name}.{consumer.name}.>",
                ]
    return allowed


def _reads(stream: str) -> list[str]:
    """What an ordered consumer on one stream needs."""
    return [
        f"{JS}.STREAM.INFO.{stream}",
        f"{JS}.CONSUMER.CREATE.{stream}",
        f"{JS}.CONSUMER.CREATE.{stream}.>",
        f"{JS}.CONSUMER.INFO.{stream}.>",
        f"{JS}.CONSUMER.DELETE.{stream}.>",
        f"{JS}.CONSUMER.MSG.NEXT.{stream}.>",
        f"{JS}.DIRECT.GET.{stream}",
        f"{JS}.DIRECT.GET.{stream}.>",
        f"$JS.ACK.{stream}.>",
        "$JS.FC.>",
    ]


def _watches() -> list[str]:
    """What it takes to tell how long every queue is; nothing can be read or changed with it."""
    infos = [f"{JS}.STREAM.INFO.{stream.name}" for stream in STREAMS]
    consumers = [consumer for stream in STREAMS for consumer in stream.consumers]
    return [*infos, *(f"{JS}.CONSUMER.INFO.{it.stream}.{it.name}" for it in consumers)]


def _owns_topology() -> list[str]:
    # The stream names stand as the fourth token and are listed one by one: no stream but ours can be touched,
    # and none can be deleted or purged.
    verbs = (
        "STREAM.INFO",
        "STREAM.CREATE",
        "STREAM.UPDATE",
        "CONSUMER.CREATE",
        "CONSUMER.INFO",
        "CONSUMER.DURABLE.CREATE",
    )
    allowed = [f"{JS}.INFO"]
    for stream in STREAMS:
        for verb in verbs:
            allowed.append(f"{JS}.{verb}.{stream.name}")
            if verb.startswith("CONSUMER"):
                allowed.append(f"{JS}.{verb}.{stream.name}.>")
    return allowed


def _takes_out() -> list[str]:
    """What it takes to look at a message that was given up, and to remove it from its queue."""
    return [f"{JS}.STREAM.MSG.{verb}.{stream.name}" for stream in ADVISED for verb in ("GET", "DELETE")]


def permissions_for(service: Service) -> Permissions:
    """The allow-lists of one service; what a service needs besides its streams is named here."""
    publish = _works_on(service)
    subscribe = [f"{inbox_prefix(service)}.>"]
    publish.append(subjects.wake(Service.RECONCILER))
    match service:
        case Service.API:
            publish += [
                *_watches(),
                *_reads(subjects.EVENTS),
                f"{JS}.DIRECT.GET.{subjects.SPANS}",
                subjects.ALL_TASK_CANCELS,
            ]
        case Service.INDEXER:
            subscribe.append(subjects.ALL_TASK_CANCELS)
        case Service.RECONCILER:
            publish += _owns_topology()
            publish += _takes_out()
            subscribe.append(subjects.wake(Service.RECONCILER))
    return Permissions(tuple(dict.fromkeys(publish)), tuple(subscribe))
