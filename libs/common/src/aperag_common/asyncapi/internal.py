"""The internal channels: FastStream's description of commands and ticks, with keys that AsyncAPI allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aperag_common import subjects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


EVENTS = f"{subjects.ROOT}.evt."


def internal(found: dict[str, Any]) -> dict[str, Any]:
    """Facts are left out: they are declared as channels of other services."""
    channels_ = {name: it for name, it in found["channels"].items() if not it["address"].startswith(EVENTS)}
    operations = {name: it for name, it in found["operations"].items() if name in channels_}
    for it in channels_.values():
        for left_out in ("servers", "bindings"):
            it.pop(left_out, None)
    mark = {"x-internal": True, "tags": [{"name": "internal"}]}
    used = {unquote(ref["$ref"]).rpartition("/")[2] for it in channels_.values() for ref in it["messages"].values()}
    messages = {name: it for name, it in found["components"]["messages"].items() if unquote(name) in used}
    schemas = found["components"]["schemas"]
    reached = _reached([it["payload"] for it in messages.values()], schemas)
    cleaned: dict[str, Any] = _legal(
        {
            "channels": {name: {**it, **mark} for name, it in sorted(channels_.items())},
            "operations": {name: {**it, **mark} for name, it in sorted(operations.items())},
            "components": {
                "messages": dict(sorted(messages.items())),
                "schemas": {name: schemas[name] for name in reached},
            },
        }
    )
    return cleaned


def _reached(parts: Iterable[Any], schemas: Mapping[str, Any]) -> set[str]:
    """Names of all schemas that ``parts`` refer to."""
    found: set[str] = set()
    waiting = [name for part in parts for name in _named(part)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _named(schemas[name])
    return found


def _named(part: Any) -> list[str]:
    if isinstance(part, list):
        return [name for it in part for name in _named(it)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"].rpartition("/")[2]] if isinstance(part.get("$ref"), str) else []
    return [*own, *(name for it in part.values() for name in _named(it))]


def _legal(part: Any) -> Any:
    """Keys and references without colons, which components may not have."""
    if isinstance(part, list):
        return [_legal(it) for it in part]
    if isinstance(part, dict):
        return {
            name.replace(":", "."): it.replace(":", ".") if name == "$ref" else _legal(it) for name, it in part.items()
        }
    return part
