"""The AsyncAPI document as a page for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from aperag_api.kernel.http.pages import rendered
from aperag_common.asyncapi.document import document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Message:
    """``fields`` are those of ``data`` where it is an event."""

    name: str
    summary: str
    about: str
    fields: Sequence[Field]


@cache
def page() -> str:
    described = document()
    groups: dict[str, list[Node]] = {}
    for name, channel in described["channels"].items():
        groups.setdefault(channel["tags"][0]["name"], []).append(_shown(name, channel, described))
    return rendered(__package__, "messages.html", info=described["info"], servers=described["servers"], groups=groups)


def _shown(name: str, channel: Node, described: Node) -> Node:
    operation = described["operations"][name]
    return {
        "name": name,
        "address": channel["address"],
        "action": operation["action"],
        "description": channel.get("description", ""),
        "parameters": channel.get("parameters", {}),
        "messages": [_message(it["$ref"], described) for it in channel["messages"].values()],
        "answered": "reply" in operation,
    }


def _message(ref: str, described: Node) -> Message:
    message = described["components"]["messages"][ref.rpartition("/")[2]]
    schemas = described["components"]["schemas"]
    if "oneOf" in message["payload"]:
        return Message(message["name"], message["summary"], "One of the events above.", ())
    schema = schemas[message["payload"]["$ref"].rpartition("/")[2]]
    data = schema.get("properties", {}).get("data", {}).get("$ref")
    schema = schema if data is None else schemas[data.rpartition("/")[2]]
    fields = [
        Field(name, _type(it), name in schema.get("required", ()), it.get("description", ""))
        for name, it in schema.get("properties", {}).items()
    ]
    name, summary = message.get("name", message.get("title", "")), message.get("summary", "")
    return Message(name, summary, schema.get("description", ""), fields)


def _type(schema: Node) -> str:
    for part in ("anyOf", "oneOf"):
        if part in schema:
            return " | ".join(_type(it) for it in schema[part])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(it) for it in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "any"))
