"""The catalogue of messages is whole and true, and what a service declares to send is what it may send."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from aperag_common import subjects
from aperag_common.bus import declared, topology
from aperag_common.bus.declared import Undeclared, catalogue, declared_for
from aperag_common.bus.permissions import permissions_for
from aperag_common.events import commands, facts
from aperag_common.events.ticks import Tick, TimerName
from aperag_common.jobs.kind import kinds
from aperag_common.services import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

COMMANDS: dict[str, type[BaseModel]] = {work.subject: work.command for kind in kinds() for work in kind.works}
FACTS: dict[str, type[BaseModel]] = {subjects.events_of_type(fact.type_name): fact for fact in facts.FACTS}
SENT = COMMANDS | FACTS | {subjects.tick(timer): Tick for timer in TimerName}
CATALOGUE = catalogue()


def operations(action: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Subject and schema of each, with all that the schema refers to."""
    for operation in CATALOGUE["operations"].values():
        if operation["action"] == action:
            channel = CATALOGUE["channels"][unquote(operation["channel"]["$ref"]).removeprefix("#/channels/")]
            for message in channel["messages"].values():
                yield channel["address"], resolved(resolved(message)["payload"])


def resolved(part: Any) -> Any:
    """With every reference replaced by what it refers to."""
    if isinstance(part, list):
        return [resolved(it) for it in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        _, part_of, group, name = unquote(part["$ref"]).split("/")
        return resolved(CATALOGUE[part_of][group][name])
    return {name: resolved(value) for name, value in part.items()}


def schema_of(message: type[BaseModel]) -> Any:
    whole = message.model_json_schema()
    return inlined({name: value for name, value in whole.items() if name != "$defs"}, whole.get("$defs", {}))


def inlined(part: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [inlined(it, definitions) for it in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return inlined(definitions[part["$ref"].removeprefix("#/$defs/")], definitions)
    return {name: inlined(value, definitions) for name, value in part.items()}


def test_every_command_tick_and_fact_is_listed_with_its_schema() -> None:
    """Two classes of one name would share one schema, and one of them would be described by the other's."""
    told = dict(operations("send"))
    assert told.keys() == SENT.keys()
    assert [subject for subject, message in SENT.items() if told[subject] != schema_of(message)] == []


def test_every_command_is_listed_with_the_consumer_that_takes_it() -> None:
    told = list(operations("receive"))
    assert dict(told) == {subject: schema_of(message) for subject, message in COMMANDS.items()}
    assert len(told) == len(COMMANDS)
    taken = {name.partition(":")[0] for name, it in CATALOGUE["operations"].items() if it["action"] == "receive"}
    assert taken == {work.consumer for kind in kinds() for work in kind.works}


def test_every_class_of_a_command_is_some_kinds_work() -> None:
    assert set(COMMANDS.values()) == set(commands.COMMANDS)


@pytest.mark.parametrize("service", Service)
def test_a_service_declares_to_send_exactly_what_it_may(service: Service) -> None:
    found = declared_for(service)
    declares = {subject for subject in SENT if _requires(found, subject.replace("*", "user1"))}
    allowed = set(permissions_for(service).publish)
    if subjects.ALL_TICKS in allowed:
        allowed |= {subjects.tick(timer) for timer in TimerName}
    assert declares == allowed & set(SENT)
    streams = (subjects.ALL_COMMANDS, subjects.ALL_EVENTS, subjects.RUN_TURN)
    wide = {it for it in allowed - set(SENT) if any(it.startswith(of.removesuffix(">")) for of in streams)}
    assert wide == set()


def _requires(found: declared.Declared, subject: str) -> bool:
    try:
        found.require(subject)
    except Undeclared:
        return False
    return True


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize(
    "subject",
    [
        "aperag.cmd.document.unheard-of",
        "aperag.evt.user1.document.unheard-of",
        "aperag.evt.user1.document.uploaded.again",
        "aperag.evt.document.uploaded",
        "aperag.tick.unheard-of",
        subjects.ALL_EVENTS,
        subjects.ALL_COMMANDS,
        "",
    ],
)
def test_what_no_catalogue_lists_is_undeclared(service: Service, subject: str) -> None:
    with pytest.raises(Undeclared):
        declared_for(service).require(subject)


def test_a_consumer_takes_only_subjects_of_its_own_filters() -> None:
    for kind in kinds():
        for work in kind.works:
            assert work.subject in topology.consumer(work.consumer).filters


@pytest.mark.parametrize("service", Service)
def test_the_guide_names_the_events_that_a_role_writes(service: Service) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    [row] = [line for line in page.splitlines() if line.startswith(f"| `aperag_{service}` |")]
    named = re.findall(r"`([a-z]+\.[a-z_]+)`", row.rstrip("|").rpartition("|")[2])
    assert named == [fact.type_name for fact in facts.made_by(service)]
