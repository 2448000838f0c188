"""What of a new AsyncAPI document would break somebody who was built against the old one; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Node = Mapping[str, Any]

_KEPT = ("type", "format", "const", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum")
"""Of a field: a change of any is a change of its type."""
_PARTS = ("anyOf", "oneOf", "allOf")


def breaking(old: Node, new: Node) -> list[str]:
    """In words; empty where only something was added. Internal channels promise nothing to anybody.

    Broken is who finds a channel, operation, message, parameter or field no more, a field of another type, or required
    that was not; who sends, by a new field that is required; and who reads, by a field that may be missing from now on.
    """
    return [
        *_channels(old, new),
        *_operations(old, new),
        *(found for name, message in _messages(old).items() for found in _message(name, message, old, new)),
    ]


def _channels(old: Node, new: Node) -> Iterator[str]:
    for name, channel in _outside(old, "channels").items():
        now = _outside(new, "channels").get(name)
        if now is None:
            yield f"channel {name} is gone"
            continue
        if now.get("address") != channel.get("address"):
            yield f"channel {name} is at {now.get('address')} instead of {channel.get('address')}"
        if now.get("parameters", {}).keys() != channel.get("parameters", {}).keys():
            yield f"channel {name} has other parameters"
        for message in channel.get("messages", {}).keys() - now.get("messages", {}).keys():
            yield f"channel {name} carries {message} no more"


def _operations(old: Node, new: Node) -> Iterator[str]:
    for name, operation in _outside(old, "operations").items():
        now = _outside(new, "operations").get(name)
        if now is None:
            yield f"operation {name} is gone"
        elif (now["action"], now["channel"]) != (operation["action"], operation["channel"]):
            yield f"operation {name} does something else"


def _outside(document: Node, part: str) -> dict[str, Any]:
    return {name: it for name, it in document.get(part, {}).items() if not it.get("x-internal")}


def _messages(document: Node) -> dict[str, Any]:
    """Those of channels that are not internal, each with whether ApeRAG receives it."""
    received = {
        ref["$ref"].rpartition("/")[2]
        for it in _outside(document, "operations").values()
        if it["action"] == "receive"
        for ref in it.get("messages", ())
    }
    names = {name for it in _outside(document, "channels").values() for name in it.get("messages", {})}
    return {name: name in received for name in sorted(names)}


def _message(name: str, received: bool, old: Node, new: Node) -> Iterator[str]:  # noqa: FBT001  a fact of the message
    before, now = (it["components"]["messages"].get(name) for it in (old, new))
    if now is None:
        yield f"message {name} is gone"
        return
    if now.get("contentType") != before.get("contentType"):
        yield f"message {name} is {now.get('contentType')} instead of {before.get('contentType')}"
    for part in ("payload", "headers"):
        if part in before:
            yield from _Comparison(old, new, received).schemas(name, before[part], now.get(part, {}))


class _Comparison:
    """Of schemas of one direction; one that holds itself is looked at once."""

    def __init__(self, old: Node, new: Node, received: bool) -> None:  # noqa: FBT001  as above
        self._old = old
        self._new = new
        self._received = received
        self._seen: set[tuple[str, str]] = set()

    def schemas(self, where: str, before: Node, now: Node) -> Iterator[str]:
        pair = (str(before.get("$ref")), str(now.get("$ref")))
        if "$ref" in before and pair in self._seen:
            return
        self._seen.add(pair)
        before, now = _resolved(before, self._old), _resolved(now, self._new)
        if any(before.get(it) != now.get(it) for it in _KEPT):
            yield f"{where} is of another type"
            return
        yield from self._fields(where, before, now)
        if "items" in before:
            yield from self.schemas(f"{where}[]", before["items"], now.get("items", {}))
        for part in _PARTS:
            yield from self._alternatives(where, before.get(part, []), now.get(part, []))

    def _fields(self, where: str, before: Node, now: Node) -> Iterator[str]:
        fields, others = before.get("properties", {}), now.get("properties", {})
        required, wanted = set(before.get("required", ())), set(now.get("required", ()))
        for name, field in fields.items():
            if name not in others:
                yield f"{where}.{name} is gone"
                continue
            if name in wanted - required:
                yield f"{where}.{name} is required"
            if not self._received and name in required - wanted:
                yield f"{where}.{name} may be missing"
            yield from self.schemas(f"{where}.{name}", field, others[name])
        if self._received:
            yield from (f"{where}.{name} is new and required" for name in sorted(wanted - fields.keys()))

    def _alternatives(self, where: str, before: list[Node], now: list[Node]) -> Iterator[str]:
        """Named ones may be joined by others; more of the rest break nobody who sends."""
        named = {it["$ref"]: it for it in now if "$ref" in it}
        for it in before:
            if "$ref" in it and it["$ref"] not in named:
                yield f"{where} is {it['$ref'].rpartition('/')[2]} no more"
            elif "$ref" in it:
                yield from self.schemas(where, it, named[it["$ref"]])
        rest, others = ([it for it in some if "$ref" not in it] for some in (before, now))
        if len(others) < len(rest) or (len(others) > len(rest) and not self._received):
            yield f"{where} is of another type"
            return
        for one, other in zip(rest, others, strict=False):
            yield from self.schemas(where, one, other)


def _resolved(schema: Node, document: Node) -> Node:
    if "$ref" not in schema:
        return schema
    found: Node = document["components"]["schemas"].get(schema["$ref"].rpartition("/")[2], {})
    return found
