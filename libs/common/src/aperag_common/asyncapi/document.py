"""Building the document: pure but for the registries that it reads."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic.json_schema import models_json_schema

from aperag_common.asyncapi import declared as _declared  # registers the channels
from aperag_common.asyncapi.channels import Action, Channel, Form, Server, channels
from aperag_common.asyncapi.internal import internal
from aperag_common.asyncapi.text import plain, text
from aperag_common.bus.declared import catalogue
from aperag_common.events import facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import BaseModel

VERSION = "1.0"
"""Of what the channels promise: additions leave it as it is."""

INFO: Mapping[str, Any] = {
    "title": "ApeRAG: messages",
    "version": VERSION,
    "description": (
        "Channels that other services use come first: events, durable subscriptions, ingest, webhooks. Those with"
        " `x-internal` are what ApeRAG's own services tell each other; they change without notice and no API key reaches"
        " them. docs/events.md shows how to use the others."
    ),
}
SERVERS: Mapping[Server, Any] = {
    Server.NATS: {
        "host": "{host}:{port}",
        "protocol": "nats",
        "title": "The listener for other services",
        "description": "`aperag nats context` prints its address. Set the inbox prefix that it names.",
        "variables": {
            "host": {"description": "where this installation's NATS listens for other services"},
            "port": {"description": "its port"},
        },
        "security": [{"$ref": "#/components/securitySchemes/apiKey"}],
    },
    Server.RECEIVER: {
        "host": "{host}",
        "protocol": "https",
        "title": "Your own server",
        "description": "The address that you registered as a webhook.",
        "variables": {"host": {"description": "of your own server"}},
    },
}
SECURITY: Mapping[str, Any] = {
    "apiKey": {
        "type": "apiKey",
        "in": "password",
        "description": "An API key (`sk-…`) as the NATS connection's token (or password). It reaches what the key reaches.",
    }
}


@cache
def document() -> dict[str, Any]:
    """The whole AsyncAPI 3 document; no host is named, for each installation has its own."""
    outside = channels()
    forms = {form.name: form for it in outside for form in (*it.messages, *it.replies)}
    inside = internal(catalogue())
    schemas = {**inside["components"]["schemas"], **_schemas(outside)}
    return {
        "asyncapi": "3.0.0",
        "info": dict(INFO),
        "defaultContentType": "application/json",
        "servers": {name.value: dict(it) for name, it in SERVERS.items()},
        "channels": {**{it.name: _channel(it) for it in outside}, **inside["channels"]},
        "operations": {**{it.name: _operation(it) for it in outside}, **inside["operations"]},
        "components": {
            "messages": {**{name: _message(it) for name, it in forms.items()}, **inside["components"]["messages"]},
            "schemas": {name: plain(it) for name, it in sorted(schemas.items())},
            "securitySchemes": dict(SECURITY),
        },
    }


def _channel(it: Channel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "address": it.address,
        "title": it.title,
        "description": text(it.description),
        "servers": [{"$ref": f"#/servers/{it.server}"}],
        "messages": {form.name: {"$ref": f"#/components/messages/{form.name}"} for form in (*it.messages, *it.replies)},
        "tags": [{"name": it.group.value}],
    }
    if it.parameters:
        found["parameters"] = {name: {"description": description} for name, description in it.parameters.items()}
    return found


def _operation(it: Channel) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{it.name}"}
    found: dict[str, Any] = {
        "action": it.action.value,
        "channel": channel,
        "title": it.title,
        "messages": _refs(it, it.messages),
        "tags": [{"name": it.group.value}],
    }
    if it.server is Server.RECEIVER:
        found["bindings"] = {"http": {"method": "POST"}}
    if it.replies:
        found["reply"] = {
            "address": {"location": "$message.header#/reply", "description": "the request's reply subject"},
            "channel": channel,
            "messages": _refs(it, it.replies),
        }
    return found


def _refs(it: Channel, forms: Iterable[Form]) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/{it.name}/messages/{form.name}"} for form in forms]


def _message(form: Form) -> dict[str, Any]:
    refs = [{"$ref": f"#/components/schemas/{it.__name__}"} for it in form.payloads]
    found: dict[str, Any] = {
        "name": form.name,
        "title": form.name,
        "summary": text(form.summary),
        "contentType": form.content_type,
        "payload": refs[0] if len(refs) == 1 else {"oneOf": refs},
    }
    if form.headers is not None:
        found["headers"] = {"$ref": f"#/components/schemas/{form.headers.__name__}"}
    return found


def _schemas(outside: Iterable[Channel]) -> dict[str, Any]:
    """As ApeRAG writes what it sends, and as it reads what it receives."""
    modes: dict[type[BaseModel], Literal["serialization", "validation"]] = {}
    for it in outside:
        received = it.messages if it.action is Action.RECEIVE else ()
        sent = it.replies if it.action is Action.RECEIVE else it.messages
        modes.update((cls, "validation") for cls in _classes(received))
        modes.update((cls, "serialization") for cls in _classes(sent))
    _, found = models_json_schema(list(modes.items()), ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = found["$defs"]
    for fact in (*facts.FACTS, *_declared.DELIVERED):
        definitions[fact.__name__]["properties"]["type"] = {"const": fact.type_name, "type": "string"}
    return definitions


def _classes(forms: Iterable[Form]) -> Iterator[type[BaseModel]]:
    for form in forms:
        yield from form.payloads
        if form.headers is not None:
            yield form.headers
