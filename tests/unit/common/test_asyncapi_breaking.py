"""Which changes of an AsyncAPI document break those who use it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from aperag_common.asyncapi.breaking import breaking

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    """A channel that is read (``out``), one that is written (``in``) and an internal one."""
    return {
        "channels": {
            "out": {
                "address": "evt.{owner}.out",
                "parameters": {"owner": {}},
                "messages": {"told": {"$ref": "#/components/messages/told"}},
            },
            "in": {"address": "in", "messages": {"asked": {"$ref": "#/components/messages/asked"}}},
            "inside": {"address": "cmd", "x-internal": True, "messages": {}},
        },
        "operations": {
            "out": {"action": "send", "channel": {"$ref": "#/channels/out"}},
            "in": {
                "action": "receive",
                "channel": {"$ref": "#/channels/in"},
                "messages": [{"$ref": "#/channels/in/messages/asked"}],
            },
            "inside": {"action": "receive", "channel": {"$ref": "#/channels/inside"}, "x-internal": True},
        },
        "components": {
            "messages": {
                "told": {
                    "contentType": "application/json",
                    "payload": {"$ref": "#/components/schemas/Told"},
                    "headers": {"$ref": "#/components/schemas/Headers"},
                },
                "asked": {"payload": {"$ref": "#/components/schemas/Asked"}},
            },
            "schemas": {
                "Told": {
                    "type": "object",
                    "required": ["id", "parts"],
                    "properties": {
                        "id": {"type": "string", "description": "which"},
                        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
                        "about": {"oneOf": [{"$ref": "#/components/schemas/Part"}]},
                    },
                },
                "Part": {
                    "type": "object",
                    "required": [],
                    "properties": {"size": {"type": "integer"}, "part": {"$ref": "#/components/schemas/Part"}},
                },
                "Headers": {"type": "object", "properties": {"signature": {"type": "string"}}},
                "Asked": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {
                        "id": {"type": "string"},
                        "kind": {"enum": ["a", "b"]},
                        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    },
                },
            },
        },
    }


def schema(it: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = it["components"]["schemas"][name]
    return found


BREAKING: list[tuple[Change, str]] = [
    (lambda it: it["channels"].pop("out"), "channel out is gone"),
    (lambda it: it["channels"]["out"].update({"x-internal": True}), "channel out is gone"),
    (
        lambda it: it["channels"]["out"].update(address="evt.out"),
        "channel out is at evt.out instead of evt.{owner}.out",
    ),
    (lambda it: it["channels"]["out"].update(parameters={}), "channel out has other parameters"),
    (lambda it: it["channels"]["out"]["messages"].pop("told"), "channel out carries told no more"),
    (lambda it: it["operations"].pop("in"), "operation in is gone"),
    (lambda it: it["operations"]["in"].update(action="send"), "operation in does something else"),
    (lambda it: it["components"]["messages"].pop("asked"), "message asked is gone"),
    (
        lambda it: it["components"]["messages"]["told"].update(contentType="text/plain"),
        "message told is text/plain instead of application/json",
    ),
    (lambda it: schema(it, "Told")["properties"].pop("note"), "told.note is gone"),
    (lambda it: schema(it, "Told")["properties"]["id"].update(type="integer"), "told.id is of another type"),
    (lambda it: schema(it, "Told")["properties"]["id"].update(format="uuid"), "told.id is of another type"),
    (lambda it: schema(it, "Told")["required"].append("note"), "told.note is required"),
    (lambda it: schema(it, "Told")["required"].remove("id"), "told.id may be missing"),
    (lambda it: schema(it, "Told")["properties"]["note"]["anyOf"].pop(), "told.note is of another type"),
    (
        lambda it: schema(it, "Told")["properties"]["note"]["anyOf"].append({"type": "integer"}),
        "told.note is of another type",
    ),
    (lambda it: schema(it, "Part")["properties"].pop("size"), "told.parts[].size is gone"),
    (lambda it: schema(it, "Told")["properties"]["about"].update(oneOf=[]), "told.about is Part no more"),
    (lambda it: schema(it, "Headers")["properties"].pop("signature"), "told.signature is gone"),
    (lambda it: it["components"]["schemas"].pop("Headers"), "told is of another type"),
    (lambda it: schema(it, "Asked")["properties"]["kind"].update(enum=["a"]), "asked.kind is of another type"),
    (lambda it: schema(it, "Asked")["required"].append("note"), "asked.note is required"),
    (
        lambda it: (
            schema(it, "Asked")["properties"].update(size={"type": "integer"}),
            schema(it, "Asked")["required"].append("size"),
        ),
        "asked.size is new and required",
    ),
]

HARMLESS: list[Change] = [
    lambda it: it["channels"].pop("inside"),
    lambda it: it["operations"].pop("inside"),
    lambda it: it["channels"]["inside"].update(address="cmd.other"),
    lambda it: it["channels"].update(more={"address": "more", "messages": {}}),
    lambda it: it["channels"]["out"]["messages"].update(more={"$ref": "#/components/messages/told"}),
    lambda it: schema(it, "Told")["properties"]["id"].update(description="which one", title="Id"),
    lambda it: schema(it, "Told")["properties"].update(more={"type": "string"}),
    lambda it: (
        schema(it, "Told")["properties"].update(more={"type": "string"}),
        schema(it, "Told")["required"].append("more"),
    ),
    lambda it: schema(it, "Told")["properties"]["about"]["oneOf"].insert(0, {"$ref": "#/components/schemas/Asked"}),
    lambda it: schema(it, "Asked")["properties"].update(more={"type": "string"}),
    lambda it: schema(it, "Asked")["required"].remove("id"),
    lambda it: schema(it, "Asked")["properties"]["note"]["anyOf"].append({"type": "integer"}),
    lambda it: it["info"].update(version="2") if "info" in it else it.update(info={"version": "2"}),
]


@pytest.mark.parametrize(("change", "told"), BREAKING, ids=lambda it: it if isinstance(it, str) else "")
def test_it_is_said_in_words(change: Change, told: str) -> None:
    new = document()
    change(new)
    assert told in breaking(document(), new)


@pytest.mark.parametrize("change", HARMLESS)
def test_additions_and_what_is_internal_break_nobody(change: Change) -> None:
    new = copy.deepcopy(document())
    change(new)
    assert new != document()
    assert breaking(document(), new) == []
